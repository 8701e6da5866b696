//! The answering core: one function, bytes in and bytes out, under every transport.
