//! What one job takes into the lab: an initramfs with the program in it, and a list of directories to share.

use std::{
    collections::BTreeMap,
    fs::File,
    io::BufWriter,
    os::unix::fs::PermissionsExt,
    path::{Component, Path, PathBuf},
};

use guest_agent::{
    lab::{Job, Share},
    lines::encode,
};
use tempfile::TempDir;

use super::{LabError, LabJob, libraries};
use crate::{
    initramfs::{Initramfs, Role},
    modules::Module,
};

/// Directories of the lab's own, over which nothing can be shared.
const RESERVED: [&str; 4] = ["/dev", "/proc", "/sys", "/etc"];

/// The environment that every program has.
const ENVIRONMENT: [(&str, &str); 2] =
    [("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("HOME", "/tmp")];

/// A job, packed. The directory goes when this does.
#[derive(Debug)]
pub(super) struct JobImage {
    directory: TempDir,
    pub(super) initrd: PathBuf,
    pub(super) shares: Vec<Share>,
}

impl JobImage {
    pub(super) fn build(job: &LabJob, modules: &[Module]) -> Result<Self, LabError> {
        let io_error = |action: &str| {
            let action = action.to_owned();
            move |source| LabError::Io { action, source }
        };
        let job = &with_absolute_paths(job)?;
        let mut libraries = libraries::of_program(&job.program)?;
        for program in &job.more_programs {
            libraries.extend(libraries::of_program(program)?);
        }
        libraries.sort_unstable();
        libraries.dedup();
        let shares = shares(job)?;
        let mut image = Initramfs::with_agent(Role::Lab, modules);
        for file in std::iter::once(&job.program)
            .chain(&job.more_programs)
            .chain(&libraries)
            .chain(job.inputs.iter().filter(|path| !path.is_dir()))
        {
            let path = absolute_text(file)?;
            let mode = file.metadata().map_err(|error| refuse(file, error))?.permissions().mode() & 0o777;
            image.host_file(path, mode, file);
        }
        let lab_job = Job {
            program: absolute_text(&job.program)?.to_owned(),
            arguments: job.arguments.clone(),
            environment: environment(job, &libraries),
            working_directory: absolute_text(&job.working_directory)?.to_owned(),
            shares: shares.clone(),
            line_socket: match &job.line_port {
                Some(port) => Some(absolute_text(&port.inside)?.to_owned()),
                None => None,
            },
        };
        image.bytes("/etc/vmbus-emu/job.json", 0o644, encode(&lab_job));

        let directory = tempfile::Builder::new()
            .prefix("vmbus-emu-lab-")
            .tempdir()
            .map_err(io_error("create a temporary directory"))?;
        let initrd = directory.path().join("initrd");
        let file = File::create(&initrd).map_err(io_error("create the initramfs"))?;
        image.write(BufWriter::new(file))?;
        Ok(Self { directory, initrd, shares })
    }
}

/// The console log of attempt number `hangs`, from 0.
pub(super) fn attempt_log(job: &LabJob, image: &JobImage, hangs: usize) -> PathBuf {
    let wanted = job.console_log.clone().unwrap_or_else(|| image.directory.path().join("console.log"));
    if hangs == 0 {
        return wanted;
    }
    let mut name = wanted.into_os_string();
    name.push(format!(".{}", hangs + 1));
    name.into()
}

fn refuse(path: &Path, reason: impl ToString) -> LabError {
    LabError::Path { path: path.to_owned(), reason: reason.to_string() }
}

/// The directories to share, an outer one before those in it, writable where any mention says so.
fn shares(job: &LabJob) -> Result<Vec<Share>, LabError> {
    let mut writable_by_path = BTreeMap::new();
    for directory in job.inputs.iter().filter(|path| path.is_dir()) {
        writable_by_path.entry(directory).or_insert(false);
    }
    for directory in &job.outputs {
        if !directory.is_dir() {
            return Err(refuse(directory, "not a directory"));
        }
        writable_by_path.insert(directory, true);
    }
    // A BTreeMap of paths is sorted by components, so an outer directory comes before what is in it.
    (0..)
        .zip(writable_by_path)
        .map(|(index, (directory, writable)): (u32, _)| {
            let path = absolute_text(directory)?;
            let reserved = RESERVED.iter().any(|reserved| directory.starts_with(reserved));
            if reserved || directory.parent().is_none() {
                return Err(refuse(directory, "that directory is the lab's own"));
            }
            Ok(Share { tag: format!("share{index}"), path: path.to_owned(), writable })
        })
        .collect()
}

/// The job as seen from the root directory. A relative path in the program's arguments means the same file then, because the program
/// starts in the same directory.
fn with_absolute_paths(job: &LabJob) -> Result<LabJob, LabError> {
    let all = |paths: &[PathBuf]| paths.iter().map(|path| absolute(path)).collect::<Result<Vec<_>, _>>();
    Ok(LabJob {
        program: absolute(&job.program)?,
        more_programs: all(&job.more_programs)?,
        working_directory: absolute(&job.working_directory)?,
        inputs: all(&job.inputs)?,
        outputs: all(&job.outputs)?,
        ..job.clone()
    })
}

fn absolute(path: &Path) -> Result<PathBuf, LabError> {
    let goes_up = path.components().any(|part| part == Component::ParentDir);
    // Only the file system knows what is above a symbolic link.
    let absolute = if goes_up { path.canonicalize() } else { std::path::absolute(path) };
    absolute.map_err(|error| refuse(path, error))
}

fn absolute_text(path: &Path) -> Result<&str, LabError> {
    path.to_str().ok_or_else(|| refuse(path, "its name is not UTF-8"))
}

fn environment(job: &LabJob, libraries: &[PathBuf]) -> Vec<(String, String)> {
    let mut environment = job.environment.clone();
    let mut directories: Vec<_> =
        libraries.iter().filter_map(|library| library.parent()?.to_str().map(str::to_owned)).collect();
    directories.sort_unstable();
    directories.dedup();
    let usual = ENVIRONMENT.map(|(name, value)| (name, value.to_owned()));
    for (name, value) in usual.into_iter().chain([("LD_LIBRARY_PATH", directories.join(":"))]) {
        if !value.is_empty() && environment.iter().all(|(known, _)| known != name) {
            environment.push((name.to_owned(), value));
        }
    }
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> LabJob {
        LabJob::new(std::env::current_exe().unwrap())
    }

    #[test]
    fn outer_directories_are_shared_before_inner_ones_and_writing_wins() {
        let dir = tempfile::tempdir().unwrap();
        let (outer, inner) = (dir.path().join("a"), dir.path().join("a/b"));
        std::fs::create_dir_all(&inner).unwrap();
        let job =
            LabJob { inputs: vec![inner.clone(), outer.clone()], outputs: vec![inner.clone()], ..job() };
        let shares = shares(&job).unwrap();
        let found: Vec<_> = shares.iter().map(|share| (Path::new(&share.path), share.writable)).collect();
        assert_eq!(found, [(&*outer, false), (&*inner, true)]);
    }

    #[test]
    fn paths_that_cannot_be_shared_are_refused_with_the_reason() {
        for (outputs, reason) in [
            (vec![PathBuf::from("/no/such/directory")], "not a directory"),
            (vec![PathBuf::from("/")], "the lab's own"),
            (vec![PathBuf::from("/proc/self")], "the lab's own"),
            (vec![PathBuf::from("/tmp/../proc")], "the lab's own"),
            (vec![PathBuf::from("/no/such/../directory")], "No such file"),
        ] {
            let job = with_absolute_paths(&LabJob { outputs, ..job() });
            let error = job.and_then(|job| shares(&job)).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn relative_paths_are_taken_from_the_current_directory() {
        let here = std::env::current_dir().unwrap();
        let outputs = vec![PathBuf::from("."), PathBuf::from("src/.."), PathBuf::from("src")];
        let job = with_absolute_paths(&LabJob { outputs, ..job() }).unwrap();
        assert_eq!(job.outputs, [here.clone(), here.clone(), here.join("src")]);
    }

    #[test]
    fn missing_input_is_named() {
        let job = LabJob { inputs: vec!["/no/such/input".into()], ..job() };
        let error = JobImage::build(&job, &[]).unwrap_err().to_string();
        assert!(error.contains("/no/such/input"), "{error}");
    }

    #[test]
    fn further_program_is_in_the_image_and_a_missing_one_is_named() {
        let job = LabJob { more_programs: vec!["/bin/true".into()], ..job() };
        let image = JobImage::build(&job, &[]).unwrap();
        let bytes = std::fs::read(&image.initrd).unwrap();
        assert!(bytes.windows(9).any(|window| window == b"bin/true\0"));
        let job = LabJob { more_programs: vec!["/no/such/program".into()], ..job };
        let error = JobImage::build(&job, &[]).unwrap_err().to_string();
        assert!(error.contains("/no/such/program"), "{error}");
    }

    #[test]
    fn environment_of_the_job_wins_over_the_usual() {
        let job = LabJob { environment: vec![("HOME".into(), "/root".into())], ..job() };
        let found = environment(&job, &["/lib64/a.so".into(), "/lib/b.so".into(), "/lib/c.so".into()]);
        let of = |name: &str| {
            found
                .iter()
                .filter(|(known, _)| known == name)
                .map(|(_, value)| value.as_str())
                .collect::<Vec<_>>()
        };
        assert_eq!((of("HOME"), of("LD_LIBRARY_PATH")), (vec!["/root"], vec!["/lib:/lib64"]));
        assert_eq!(of("PATH").len(), 1);
    }
}
