//! Not yet written.
#![no_std]
