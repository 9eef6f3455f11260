//! The live view: one thread looks at the gateway, this one at keys, signals and the terminal's size.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::address::Address;
use super::looks::{Failure, Look, Looks, is_over, look};
use super::page::View;
use super::terminal::{Key, Terminal};

/// Live figures are of this long: those of one second jump about, and have few times to take a quantile of.
const WINDOW: f64 = 10.0;
/// How soon a new size, a signal or news of the gateway are seen.
const TURN: Duration = Duration::from_millis(100);

/// Shows the gateway until somebody quits.
pub(super) fn run(address: &Address, interval: Duration) -> Result<(), Failure> {
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, ended.clone())?;
    }
    let (news, looks) = channel();
    // Ends the other thread with this function; a look under way is not waited for.
    let (_stop, stopped) = channel();
    let asked = address.clone();
    std::thread::Builder::new()
        .name("looking".into())
        .spawn(move || keep_looking(&asked, interval, &news, &stopped))?;
    show(address, &looks, &ended)
}

fn keep_looking(
    address: &Address,
    interval: Duration,
    news: &Sender<Result<Look, String>>,
    stop: &Receiver<()>,
) {
    while news.send(look(address)).is_ok() && !is_over(stop, interval) {}
}

fn show(
    address: &Address,
    looks: &Receiver<Result<Look, String>>,
    ended: &AtomicBool,
) -> Result<(), Failure> {
    let terminal = Terminal::enter()?;
    let mut history = Looks::new(address, WINDOW);
    let mut view = View {
        address: address.to_string(),
        ..View::default()
    };
    let mut size = (0, 0);
    let mut changed = true;
    while !ended.load(Ordering::Relaxed) {
        let now = Terminal::size();
        if changed || now != size {
            size = now;
            terminal.show(&view.page(size.0, size.1))?;
        }
        let keys = terminal.keys(TURN)?;
        changed = !keys.is_empty();
        for key in keys {
            match key {
                Key::Quit => return Ok(()),
                Key::First => view.skipped = 0,
                Key::Scroll(lines) => view.scroll(lines),
                Key::Suspend => {
                    terminal.suspend()?;
                    // The screen is empty then.
                    size = (0, 0);
                }
            }
        }
        loop {
            match looks.try_recv() {
                Ok(Ok(look)) => {
                    view.figures = Some(history.figures(look));
                    view.trouble = None;
                }
                Ok(Err(trouble)) => view.trouble = Some(trouble),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    return Err(Failure::Gateway(
                        "a thread has ended; this is a defect".into(),
                    ));
                }
            }
            changed = true;
        }
    }
    Ok(())
}
