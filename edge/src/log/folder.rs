//! A real folder, locked for one process.

use std::path::Path;
use std::sync::Arc;

use super::LogError;
use super::directory::Directory;

/// A folder of the file system that this process has to itself.
#[derive(Debug)]
pub struct Folder {}

impl Folder {
    /// Opens a folder, making it and its parents where missing, and locks it.
    ///
    /// # Errors
    /// [`LogError::InUse`] when another process has it open; [`LogError::File`] with the path when
    /// it can't be made, read or written.
    pub fn open(path: &Path) -> Result<Arc<dyn Directory>, LogError> {
        Err(LogError::InUse {
            path: path.display().to_string(),
        })
    }
}
