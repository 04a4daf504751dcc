//! Where a process spends its time, by samples.
//!
//! Two perf events "cpu clock" for each thread note at which instruction it is, so many times a second
//! of its processor time: one seldom, and one often, of which one is on at a time. Time in the kernel
//! leaves no sample.

use std::fs;
use std::time::Duration;

use perf_event::data::Record;
use perf_event::events::Software;
use perf_event::{Builder, SampleFlag, Sampler};

/// Processor time between two samples.
const SELDOM: Duration = Duration::from_millis(2);
const OFTEN: Duration = Duration::from_micros(50);

/// A process with more threads is not sampled.
const MOST_THREADS: usize = 8;

/// Bytes of ring buffer, for some 4,000 samples: 200 ms of the event that samples often.
const BUFFER_BYTES: usize = 64 * 1024;

/// Samples of a process.
pub struct ProcessSampler {
    threads: Vec<Thread>,
    often: bool,
}

struct Thread {
    seldom: Sampler,
    often: Sampler,
}

/// Samples that have been taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// The address of an instruction.
    At(u64),
    /// Some did not fit into the buffer.
    Lost,
}

impl ProcessSampler {
    /// Samples a process seldom from now on. `None` where it cannot be sampled.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        let threads = threads.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let threads: Vec<libc::pid_t> = threads.take(MOST_THREADS + 1).collect();
        if threads.len() > MOST_THREADS {
            return None;
        }
        let threads = threads.into_iter().map(|thread| {
            Some(Thread {
                seldom: sampler(thread, SELDOM, true)?,
                often: sampler(thread, OFTEN, false)?,
            })
        });
        Some(Self {
            threads: threads.collect::<Option<_>>()?,
            often: false,
        })
    }

    /// Samples often from now on, or seldom again.
    pub fn set_often(&mut self, often: bool) {
        self.often = often;
        for thread in &mut self.threads {
            let (on, off) = if often {
                (&mut thread.often, &mut thread.seldom)
            } else {
                (&mut thread.seldom, &mut thread.often)
            };
            // On failure there are no samples, and nothing is made of them.
            let _ = off.disable();
            let _ = on.enable();
        }
    }

    /// Processor time that a sample stands for while it is sampled often, or seldom.
    #[must_use]
    pub fn period(often: bool) -> Duration {
        if often { OFTEN } else { SELDOM }
    }

    /// Takes the samples of the kind that is taken at present.
    pub fn take(&mut self, mut visit: impl FnMut(Sample)) {
        // The kernel may write as fast as we read.
        const AT_MOST: usize = 2 * BUFFER_BYTES / 16;
        for thread in &mut self.threads {
            let sampler = if self.often {
                &mut thread.often
            } else {
                &mut thread.seldom
            };
            for _ in 0..AT_MOST {
                let Some(record) = sampler.next_record() else {
                    break;
                };
                match record.parse_record() {
                    Ok(Record::Sample(sample)) => {
                        visit(sample.ip().map_or(Sample::Lost, Sample::At))
                    }
                    Ok(Record::Lost(_)) | Err(_) => visit(Sample::Lost),
                    Ok(_) => {}
                }
            }
        }
    }
}

fn sampler(thread: libc::pid_t, period: Duration, enabled: bool) -> Option<Sampler> {
    let mut builder = Builder::new(Software::CPU_CLOCK);
    builder
        .observe_pid(thread)
        .any_cpu()
        .exclude_kernel(true)
        .sample(SampleFlag::IP)
        .sample_period(u64::try_from(period.as_nanos()).ok()?)
        // Nobody waits for them.
        .wakeup_watermark(BUFFER_BYTES)
        .enabled(enabled);
    builder.build().ok()?.sampled(BUFFER_BYTES).ok()
}
