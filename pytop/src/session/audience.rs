//! Whoever shows what is counted: a screen, or a report that others may read.
//!
//! It takes an update when it has dealt with those before. One that waits, because nobody reads on
//! at the other end of a pipe, must not hold up what else a session does: hear signals, end the
//! command, and see to it that new processes are counted.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender};
use tokio::time::sleep;

use super::wake::{Signals, Wake};
use crate::updates::{Command, Update};

/// How long after a signal has asked for the end the audience may take for what it has not taken.
const PATIENCE: Duration = Duration::from_secs(2);

/// The same after another signal. Not nothing: timeout(1) sends each of its signals twice, and what
/// is being taken should arrive.
const HASTE: Duration = Duration::from_millis(250);

/// The other end of a session.
pub(super) struct Audience {
    updates: Sender<Update>,
    commands: Receiver<Command>,
    /// Updates for which there is no room yet.
    waiting: VecDeque<Update>,
}

impl Audience {
    pub(super) fn new(updates: Sender<Update>, commands: Receiver<Command>) -> Self {
        Self {
            updates,
            commands,
            waiting: VecDeque::new(),
        }
    }

    /// Tells something, now or when there is room for it.
    pub(super) fn tell(&mut self, update: Update) {
        self.waiting.push_back(update);
        while let Ok(room) = self.updates.try_reserve()
            && let Some(update) = self.waiting.pop_front()
        {
            room.send(update);
        }
    }

    /// Whether it has no room for more.
    pub(super) fn is_behind(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Waits until it has taken what is waiting, or asks for something. Cancelling this loses
    /// nothing.
    pub(super) async fn next(&mut self) -> Wake {
        tokio::select! {
            biased;
            room = self.updates.reserve(), if !self.waiting.is_empty() => match room {
                Ok(room) => {
                    if let Some(update) = self.waiting.pop_front() {
                        room.send(update);
                    }
                    Wake::Taken
                }
                // It has gone.
                Err(_) => Wake::Asked(None),
            },
            command = self.commands.recv() => Wake::Asked(command),
        }
    }

    /// Waits until it has dealt with everything, and says whether it has. Readers may take as long
    /// as they like, unless a signal asks for the end, or `was_asked_to_end` that it has.
    pub(super) async fn hear_out(self, signals: &mut Signals, was_asked_to_end: bool) -> bool {
        let mut end = pin!(self.end());
        if !was_asked_to_end {
            tokio::select! {
                biased;
                () = &mut end => return true,
                _ = signals.next() => {}
            }
        }
        let hurried = async {
            signals.next().await;
            sleep(HASTE).await;
        };
        tokio::select! {
            biased;
            () = &mut end => true,
            () = hurried => false,
            () = sleep(PATIENCE) => false,
        }
    }

    /// Tells the rest, and waits until nobody can ask for anything any more.
    async fn end(mut self) {
        for update in self.waiting {
            if self.updates.send(update).await.is_err() {
                break;
            }
        }
        drop(self.updates);
        while let Some(command) = self.commands.recv().await {
            if command == Command::Quit {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::channel;

    use super::*;

    fn notice(text: &str) -> Update {
        Update::Notice(text.to_owned())
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be made")
            .block_on(test)
    }

    #[test]
    fn updates_wait_in_order_and_commands_do_not_wait_for_them() {
        run(async {
            let (updates, mut told) = channel(1);
            let (asks, commands) = channel(1);
            let mut audience = Audience::new(updates, commands);
            for text in ["1", "2", "3"] {
                audience.tell(notice(text));
            }
            assert!(audience.is_behind());
            asks.send(Command::Quit).await.expect("it listens");
            let quit = audience.next().await;
            assert!(matches!(quit, Wake::Asked(Some(Command::Quit))));
            let mut texts = Vec::new();
            while let Ok(Update::Notice(text)) = told.try_recv() {
                texts.push(text);
                if audience.is_behind() {
                    assert!(matches!(audience.next().await, Wake::Taken));
                }
            }
            assert_eq!(texts, ["1", "2", "3"]);
            assert!(!audience.is_behind());
            drop(told);
            audience.tell(notice("4"));
            assert!(matches!(audience.next().await, Wake::Asked(None)));
        });
    }

    #[test]
    fn who_listens_hears_everything() {
        run(async {
            let (updates, mut told) = channel(1);
            let (asks, commands) = channel(1);
            let mut audience = Audience::new(updates, commands);
            for text in ["1", "2", "3"] {
                audience.tell(notice(text));
            }
            let mut signals = Signals::listen().expect("signals can be listened for");
            let listener = async {
                let mut number = 0;
                while told.recv().await.is_some() {
                    number += 1;
                }
                drop(asks);
                number
            };
            let (heard, number) = tokio::join!(audience.hear_out(&mut signals, true), listener);
            assert!(heard);
            assert_eq!(number, 3);
        });
    }

    /// An audience that takes nothing, and what it would take it by.
    fn silent() -> (Audience, impl Sized) {
        let (updates, told) = channel(1);
        let (asks, commands) = channel(1);
        let mut audience = Audience::new(updates, commands);
        audience.tell(notice("1"));
        (audience, (told, asks))
    }

    #[test]
    fn who_does_not_listen_is_not_waited_for() {
        run(async {
            let mut signals = Signals::listen().expect("signals can be listened for");
            let (audience, _open) = silent();
            assert!(!audience.hear_out(&mut signals, true).await);
        });
    }

    #[test]
    fn a_second_signal_ends_the_patience() {
        run(async {
            let mut signals = Signals::listen().expect("signals can be listened for");
            let (audience, _open) = silent();
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGHUP).expect("it is our own");
            let heard = audience.hear_out(&mut signals, true);
            let heard = tokio::time::timeout(PATIENCE / 2, heard).await;
            assert_eq!(heard, Ok(false));
        });
    }
}
