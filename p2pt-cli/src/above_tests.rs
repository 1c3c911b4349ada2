use super::*;

/// What the two sides may do to a backlog.
#[derive(Debug, Clone, Copy)]
enum Step {
    Push,
    Draw,
    Pause,
    End,
}

/// All sequences of this many steps.
fn sequences(length: u32) -> impl Iterator<Item = Vec<Step>> {
    const STEPS: [Step; 4] = [Step::Push, Step::Draw, Step::Pause, Step::End];
    (0..4_usize.pow(length)).map(move |number| (0..length).map(|at| STEPS[number >> (2 * at) & 3]).collect())
}

#[test]
fn lines_are_shown_once_and_in_order_whatever_the_two_sides_do() {
    for steps in sequences(8) {
        let (mut backlog, mut given, mut shown) = (Backlog::default(), String::new(), String::new());
        for (at, step) in steps.iter().enumerate() {
            match step {
                Step::Push => {
                    let line = format!("{at}\n");
                    given.push_str(&line);
                    shown.push_str(backlog.push(&line).unwrap_or_default());
                }
                Step::Draw => shown.push_str(&backlog.draw()),
                Step::Pause => backlog.pause(),
                Step::End => shown.push_str(&backlog.end()),
            }
            assert!(given.starts_with(&shown), "{steps:?} show {shown:?} of {given:?}");
            assert!(!backlog.is_shown() || shown == given, "{steps:?} show {shown:?} alone");
        }
        shown.push_str(&backlog.end());
        assert_eq!(shown, given, "{steps:?}");
    }
}

#[test]
fn text_that_is_being_drawn_is_not_shown_yet() {
    let mut backlog = Backlog::default();
    backlog.push("a line\n");
    assert_eq!(backlog.draw(), "a line\n");
    assert!(!backlog.is_shown(), "the editor has not written it");
    backlog.draw();
    assert!(backlog.is_shown(), "it has, as it draws again");
}

/// An editor's printer that passes on that it was called.
struct Bell(mpsc::Sender<String>);

impl ExternalPrinter for Bell {
    fn print(&mut self, text: String) -> rustyline::Result<()> {
        self.0.send(text).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe).into())
    }
}

/// A guard against hanging, not a measurement.
const DEADLINE: Duration = Duration::from_secs(60);

/// A terminal that keeps what it is sent.
#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Screen {
    fn shown(&self) -> String {
        String::from_utf8(self.0.lock().expect("no panic").clone()).expect("UTF-8")
    }
}

impl Write for Screen {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").write(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_woken_editor_has_drawn_all_lines_when_the_other_side_has_left() {
    let ((bell, rings), mut drawn, written) = (mpsc::channel(), Screen::default(), Screen::default());
    let (lines, prompter) = lines_above(Bell(bell), written.clone()).expect("a thread");
    let seen = drawn.clone();
    let editor = thread::spawn(move || {
        let mut draw = || drawn.write_all(prompter.highlight_prompt("> ", true).as_bytes()).expect("memory takes it");
        draw();
        while rings.recv().is_ok() {
            draw();
        }
    });
    let given: String = (0..500).map(|number| format!("line {number}\n")).collect();
    for line in given.split_inclusive('\n') {
        lines.print(line).expect("the editor takes it");
    }
    lines.leave(DEADLINE);
    assert_eq!(seen.shown().replace("> ", ""), given);
    // With this side goes the thread that wakes the editor, and with that the bell.
    drop(lines);
    editor.join().expect("it ends");
    assert!(seen.shown().ends_with("> "), "the prompt is below");
    assert_eq!(written.shown(), "", "it was all drawn");
}

#[test]
fn what_the_editor_has_not_drawn_is_written_before_what_comes_after_it() {
    let ((bell, _rings), written) = (mpsc::channel(), Screen::default());
    let (lines, prompter) = lines_above(Bell(bell), written.clone()).expect("a thread");
    lines.print("drawn\n").expect("taken");
    assert_eq!(prompter.highlight_prompt("> ", true), "drawn\n> ");
    prompter.pause();
    lines.print("not drawn\n").expect("taken");
    assert_eq!(written.shown(), "", "the editor draws while there is one");
    drop(prompter);
    lines.print("after\n").expect("written");
    drop(lines);
    assert_eq!(written.shown(), "not drawn\nafter\n");
}

#[test]
fn an_editor_that_does_not_draw_is_not_waited_for_for_ever() {
    let ((bell, _rings), written) = (mpsc::channel(), Screen::default());
    let (lines, prompter) = lines_above(Bell(bell), written.clone()).expect("a thread");
    prompter.highlight_prompt("> ", true);
    lines.print("late\n").expect("taken");
    lines.leave(Duration::ZERO);
    assert_eq!(written.shown(), format!("{CLEAR_ROW}late\n"));
    assert_eq!(prompter.highlight_prompt("> ", true), "> ", "it is shown once");
}

#[test]
fn a_backlog_is_full_until_it_is_drawn_or_the_editor_ends() {
    for make_room in [|backlog: &mut Backlog| backlog.draw(), |backlog: &mut Backlog| backlog.end()] {
        let mut backlog = Backlog::default();
        backlog.push(&"x".repeat(MAX_WAITING_BYTES - 1));
        assert!(!backlog.is_full());
        backlog.push("x");
        assert!(backlog.is_full());
        assert_eq!(make_room(&mut backlog).len(), MAX_WAITING_BYTES);
        assert!(!backlog.is_full());
    }
}

#[test]
fn printing_goes_on_as_soon_as_the_editor_draws() {
    let (bell, _rings) = mpsc::channel();
    let (lines, prompter) = lines_above(Bell(bell), io::sink()).expect("a thread");
    lines.print(&"x".repeat(MAX_WAITING_BYTES)).expect("there is room");
    let (printed, prints) = mpsc::channel();
    thread::spawn(move || {
        lines.print("more\n").expect("there is room again");
        printed.send(lines).expect("the test waits");
    });
    assert_eq!(prompter.highlight_prompt("", true).len(), MAX_WAITING_BYTES);
    let lines = prints.recv_timeout(DEADLINE).expect("printing goes on");
    assert_eq!(prompter.highlight_prompt("", true), "more\n");
    prompter.pause();
    assert!(lines.wait_until_shown(Duration::ZERO), "the editor has written all");
}

#[test]
fn only_an_editor_that_reads_a_line_is_woken() {
    for (phase, rung) in [(Phase::Paused, 0), (Phase::Editing, 1), (Phase::Ended, 0)] {
        let backlog = Backlog { editor: phase, ..Backlog::default() };
        let shared =
            Shared { backlog: Mutex::new(backlog), changed: Condvar::new(), out: Mutex::new(Box::new(io::sink())) };
        let (wake, woken) = mpsc::sync_channel(1);
        wake.send(()).expect("there is room");
        drop(wake);
        let (bell, rings) = mpsc::channel();
        wakes(&shared, &woken, Bell(bell));
        assert_eq!(rings.iter().count(), rung, "{phase:?}");
    }
}
