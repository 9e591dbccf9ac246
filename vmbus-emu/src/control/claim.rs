//! A socket's place in the file system: free, left over, or somebody's.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::exit::ExitError;

/// A listening socket at its path, for this user alone. Dropping it removes the file.
#[derive(Debug)]
pub(crate) struct ClaimedSocket {
    listener: UnixListener,
    path: PathBuf,
    /// The file that is ours, should another be at the path by then.
    inode: u64,
}

impl ClaimedSocket {
    /// Listens at `path`. A socket that nobody listens at any more is replaced.
    ///
    /// # Errors
    /// Status 4 if a live process listens there; status 2 if a socket cannot be there.
    pub(crate) fn at(path: &Path) -> Result<Self, ExitError> {
        let shown = path.display();
        let refuse = |reason: String| ExitError::usage(format!("--control: {shown}: {reason}"));
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(refuse(error.to_string())),
            Ok(metadata) if !metadata.file_type().is_socket() => {
                return Err(refuse("there is a file that is no socket, and it is left alone".into()));
            }
            Ok(_) => match UnixStream::connect(path) {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                _ => {
                    return Err(ExitError::cannot_run(format!(
                        "control socket {shown} is in use by another process"
                    ))
                    .with_hint(
                        "name another one, or end the other run with vmbus-emu ctl --socket PATH quit",
                    ));
                }
            },
        }
        // Made in a directory that nobody else can enter, so that it is never open to others, then put in its place.
        let mut private = path.as_os_str().to_owned();
        private.push(format!(".{}", std::process::id()));
        let private = PathBuf::from(private);
        fs::DirBuilder::new().mode(0o700).create(&private).map_err(|error| refuse(error.to_string()))?;
        let made = Self::make(&private.join("s"), path);
        // Empty by now; if it cannot be removed, nothing else is lost.
        let _ = fs::remove_file(private.join("s"));
        let _ = fs::remove_dir(&private);
        made.map_err(|error| refuse(error.to_string()))
    }

    fn make(private: &Path, path: &Path) -> std::io::Result<Self> {
        let listener = UnixListener::bind(private)?;
        fs::set_permissions(private, fs::Permissions::from_mode(0o600))?;
        let inode = fs::symlink_metadata(private)?.ino();
        fs::rename(private, path)?;
        Ok(Self { listener, path: path.to_owned(), inode })
    }

    pub(super) fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

impl Drop for ClaimedSocket {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode) {
            // Gone already, or a directory that became read-only: the next run replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_is_for_its_user_alone_and_goes_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        let claimed = ClaimedSocket::at(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
        UnixStream::connect(&path).unwrap();
        drop(claimed);
        assert!(!path.exists());
    }

    #[test]
    fn socket_in_use_is_named_with_status_4_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        let _claimed = ClaimedSocket::at(&path).unwrap();
        let error = ClaimedSocket::at(&path).unwrap_err();
        assert_eq!(error.kind() as u8, 4);
        assert!(
            error.to_string().contains(&format!("control socket {} is in use", path.display())),
            "{error}"
        );
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn socket_that_was_left_over_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let _claimed = ClaimedSocket::at(&path).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn place_where_no_socket_can_be_is_a_usage_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        fs::write(&file, "kept").unwrap();
        let long = dir.path().join("x".repeat(200));
        for (path, part) in [
            (file.clone(), "no socket, and it is left alone"),
            (dir.path().join("no/c"), "No such file"),
            (long, "SUN_LEN"),
        ] {
            let error = ClaimedSocket::at(&path).unwrap_err();
            assert_eq!(error.kind() as u8, 2, "{error}");
            assert!(error.to_string().contains(part), "{error}");
        }
        assert_eq!(fs::read(&file).unwrap(), b"kept");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
