//! Runs any program of this machine in the KVM lab: `cargo run -p guest-kit --example in_lab -- /usr/bin/ls -l /dev/kvm`.

use std::{error::Error, process::ExitCode};

use guest_kit::{
    cache,
    lab::{Lab, LabClock, LabJob, LabOutput, ProgramEnd},
};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let program = words.next().ok_or("usage: in_lab PROGRAM [ARGUMENT...]; PROGRAM is an absolute path")?;
    let lab = Lab::prepare(&cache::directory(), LabClock::Host, &mut |step| eprintln!("{step:?}"))?;
    let job = LabJob { arguments: words.collect(), ..LabJob::new(program) };
    let run = lab.run(&job, &mut |output| match output {
        LabOutput::Stdout(line) => println!("{line}"),
        LabOutput::Stderr(line) => eprintln!("{line}"),
        other => eprintln!("{other:?}"),
    })?;
    eprintln!("{run:?}");
    Ok(match run.end {
        ProgramEnd::Code(code) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        ProgramEnd::Signal(_) => ExitCode::FAILURE,
    })
}
