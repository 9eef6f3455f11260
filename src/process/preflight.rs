//! What can be known of a start without starting: files and addresses that a configuration names and that the
//! system would refuse.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use rustix::fs::{Access, access};

use crate::config::{Config, Listen, LogFile};

/// Whether a start would get its log file and its addresses. Nothing is made, opened for good or listened on; a port
/// that another program holds is met by the start alone, for the other one may be this gateway itself.
///
/// # Errors
/// Names the setting, the file and what was expected.
pub(crate) fn check(config: &Config) -> Result<(), String> {
    log_file(config)?;
    if let Some(conflict) = &config.listen_conflict {
        return Err(conflict.to_string());
    }
    if let Some(path) = &config.server.control
        && let Err(error) = socket_path(path)
    {
        let (setting, path) = (config.places.of("server.control"), path.display());
        return Err(format!("{setting}: {path}: {error}"));
    }
    let server = config.server.listen.iter().map(|at| ("server.listen", at));
    let metrics = config
        .metrics
        .listen
        .iter()
        .map(|at| ("metrics.listen", at));
    for (key, address) in server.chain(metrics) {
        if let Listen::Unix(path) = address
            && let Err(error) = socket_path(path)
        {
            return Err(format!("{}: {address}: {error}", config.places.of(key)));
        }
    }
    Ok(())
}

fn log_file(config: &Config) -> Result<(), String> {
    let LogFile::Path(path) = &config.log.file else {
        return Ok(());
    };
    appendable(path).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => "; expected a folder that is there",
            _ => "",
        };
        let (setting, path) = (config.places.of("log.file"), path.display());
        format!("{setting}: {path}: cannot open it: {error}{hint}")
    })
}

/// Opens what is there as the log does; what is not there can be made if its folder lets it.
fn appendable(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        // To open one may take until somebody reads it.
        Ok(found) if found.file_type().is_fifo() => Ok(access(path, Access::WRITE_OK)?),
        Ok(_) => OpenOptions::new().append(true).open(path).map(drop),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = match path.parent() {
                Some(folder) if !folder.as_os_str().is_empty() => folder,
                _ => Path::new("."),
            };
            Ok(access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
        }
        Err(error) => Err(error),
    }
}

/// A file of another kind is somebody's, and stays.
fn socket_path(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => Err(io::Error::other(
            "there is a file that is no socket; expected a socket, or nothing there",
        )),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match path.parent() {
            Some(folder) => fs::metadata(folder).map(drop),
            None => Ok(()),
        },
        Err(error) => Err(error),
    }
}
