//! L0 protocols as pure round functions over secret types.
