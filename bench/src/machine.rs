//! What is measured on, and who else uses it.

use std::fs::read_to_string;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::Pid;
use serde::Serialize;

use crate::failure::{Failure, Outcome};

/// The processors this process may run on.
pub(crate) fn allowed_cpus() -> nix::Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect())
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cpus: usize,
    pub(crate) kernel: String,
}

impl Machine {
    pub(crate) fn this() -> Machine {
        let cpuinfo = read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Machine {
            processor: model.map_or("unknown processor", |(_, name)| name.trim()).to_string(),
            cpus: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            kernel: read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_string(),
        }
    }
}

/// The time that processors have worked for anybody, and for this process and its children, in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    total: f64,
    busy: f64,
    own: f64,
}

impl Load {
    pub(crate) fn now() -> Outcome<Load> {
        let stat = read_to_string("/proc/stat")?;
        // Ticks of 10 ms, as proc(5) says: user, nice, system, idle, iowait, irq, softirq, steal; guests are part of the first two.
        let line = stat.lines().next().unwrap_or_default();
        let ticks: Vec<f64> = line.split_whitespace().skip(1).take(8).filter_map(|tick| tick.parse().ok()).collect();
        if ticks.len() < 8 {
            return Err(Failure::new("/proc/stat looks strange"));
        }
        let total = ticks.iter().sum::<f64>() / 100.0;
        let idle = (ticks[3] + ticks[4]) / 100.0;
        let mut own = 0.0;
        for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
            let usage = getrusage(who)?;
            for time in [usage.user_time(), usage.system_time()] {
                own += time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
            }
        }
        Ok(Load { total, busy: total - idle, own })
    }

    /// How much of the processors' time others have used since `earlier`, from 0 to 1; what the hypervisor withheld included.
    pub(crate) fn others_since(self, earlier: Load) -> f64 {
        let others = (self.busy - earlier.busy) - (self.own - earlier.own);
        (others / (self.total - earlier.total).max(0.01)).clamp(0.0, 1.0)
    }
}
