//! The bytes of files: those still arriving, those complete, and the small versions of pictures.
//!
//! An upload appends to a file in [`staging`] and feeds a [`tree::TreeHasher`], whose state is
//! small enough to be saved with every checkpoint: after a crash at most the last part is read
//! again. A complete and verified file moves into the [`depot`], which sits on an object store. Where
//! that is another machine ([`s3`]), the bytes wait in the [`spool`] and go there in parts
//! ([`multipart`]) while the rest arrives. [`thumbnail`] reads picture headers and makes small versions within limits of pixels, bytes and
//! time.
//!
//! Read [`tree`] first. The order of the steps that make a blob visible is the resource role's
//! business: this crate refuses to know accounts, uploads and the store.

pub mod depot;
pub mod metric;
pub mod multipart;
pub mod s3;
pub mod spool;
pub mod staging;
pub mod thumbnail;
pub mod tree;
