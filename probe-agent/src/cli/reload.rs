//! `probe-agent reload`: the running agent reads its configuration file again.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use clap::Args;

use super::{EXIT_CONFIG, EXIT_TROUBLE, connect::ConnectArgs, print};
use crate::term::page::{Colour, TableStyle, padded, paint, tell, width_of, wrap};
use probe_api::{
    Problem,
    client::ClientError,
    reload::{ChangeOutcome, InterfaceChange, ReloadReport, SettingChange},
};
use probe_capture::selection::not_a_pattern;
use probe_flow::text::{counted, printable};

/// Let the running agent read its configuration file again, and show what that changes
///
/// Nothing is applied where the file is wrong or a setting needs a restart. Else interfaces change
/// one by one: one that fails goes on as it was. Interfaces whose settings are the same lose nothing.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit status: 0 when all was done. 2 when the configuration was refused and nothing \
                  applied (with --dry-run: would be). 4 when the agent does not answer. 5 when some \
                  interfaces failed, as told."
)]
pub(super) struct ReloadArgs {
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    /// The answer of the agent as one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Asks, and shows what came of it.
pub(super) fn run(args: &ReloadArgs) -> anyhow::Result<ExitCode> {
    let client = args.connect.client()?;
    let report = match client.reload(args.dry_run) {
        Ok(report) => report,
        Err(ClientError::Problem(problem)) => {
            if args.json {
                print(&format!("{}\n", serde_json::to_string_pretty(&problem)?))?;
            } else {
                tell(refusal(&problem));
            }
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
        Err(error) => return Err(error.into()),
    };
    if args.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&report)?))?;
    } else {
        let style = TableStyle::of_terminal(io::stdout().is_terminal());
        let mut out = Vec::new();
        write(&mut out, style, &report)?;
        print(&String::from_utf8(out)?)?;
    }
    Ok(code(&report))
}

fn code(report: &ReloadReport) -> ExitCode {
    if report.needs_restart().next().is_some() {
        ExitCode::from(EXIT_CONFIG)
    } else if report.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXIT_TROUBLE)
    }
}

/// Everything that is wrong, as `check` tells it.
fn refusal(problem: &Problem) -> String {
    let mut text = format!(
        "error: not reloaded: {}\n",
        printable_lines(&problem.detail)
    );
    for SettingChange {
        setting,
        before,
        after,
        ..
    } in &problem.settings
    {
        let [before, after] = [before, after].map(|it| it.as_deref().unwrap_or("(none)"));
        text += &printable(&format!("  {setting}: {before} -> {after}"));
        text.push('\n');
    }
    text
}

fn printable_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(printable).collect();
    lines.join("\n")
}

/// Shows a report to people.
pub(super) fn write(
    out: &mut impl Write,
    style: TableStyle,
    report: &ReloadReport,
) -> io::Result<()> {
    let width = style.page_width();
    if !report.settings.is_empty() {
        writeln!(out, "{}", paint(style, Colour::Bold, "settings"))?;
    }
    for change in &report.settings {
        setting(out, style, width, change)?;
    }
    if !report.interfaces.is_empty() {
        writeln!(out, "{}", paint(style, Colour::Bold, "interfaces"))?;
    }
    let name = |it: &InterfaceChange| width_of(&it.iface);
    let longest = report.interfaces.iter().map(name).max().unwrap_or(0);
    for change in &report.interfaces {
        interface(out, style, width, longest, change)?;
    }
    for name in &report.missing {
        let hint = not_a_pattern(name);
        let text = format!("{name}: no such link{hint}; captured as soon as it appears");
        paragraph(out, style, Colour::Yellow, width, &text)?;
    }
    for line in wrap(&conclusion(style, report), width) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn setting(
    out: &mut impl Write,
    style: TableStyle,
    width: usize,
    change: &SettingChange,
) -> io::Result<()> {
    let value = |it: &Option<String>| it.clone().unwrap_or_else(|| "(none)".to_owned());
    let mut text = format!(
        "{}: {} -> {}",
        change.setting,
        value(&change.before),
        value(&change.after)
    );
    let mut colour = Colour::None;
    if !change.live {
        text += " (needs a restart)";
        colour = Colour::Red;
    }
    paragraph(out, style, colour, width, &text)
}

fn interface(
    out: &mut impl Write,
    style: TableStyle,
    width: usize,
    longest: usize,
    change: &InterfaceChange,
) -> io::Result<()> {
    let (outcome, colour) = match change.outcome {
        ChangeOutcome::Planned => ("would be ", Colour::None),
        ChangeOutcome::Done => ("", Colour::Green),
        ChangeOutcome::Restored => ("failed, goes on as it was: not ", Colour::Yellow),
        ChangeOutcome::Failed => ("failed: not ", Colour::Red),
    };
    let gap = change.gap_us.map(Duration::from_micros);
    let gap = gap.map(|gap| format!(", not captured for {gap:.1?}"));
    let reason = change.reason.as_ref().map(|it| format!(": {it}"));
    let text = format!(
        "{}  {outcome}{}{}{}",
        padded(&change.iface, longest),
        change.action.name(),
        gap.unwrap_or_default(),
        reason.unwrap_or_default()
    );
    paragraph(out, style, colour, width, &text)
}

/// Indented, and lines after the first a little more.
fn paragraph(
    out: &mut impl Write,
    style: TableStyle,
    colour: Colour,
    width: usize,
    text: &str,
) -> io::Result<()> {
    let mut indent = "  ";
    for line in wrap(&printable(text), width.saturating_sub(4)) {
        writeln!(out, "{indent}{}", paint(style, colour, &line))?;
        indent = "    ";
    }
    Ok(())
}

fn conclusion(style: TableStyle, report: &ReloadReport) -> String {
    let are = if report.untouched == 1 { "is" } else { "are" };
    let untouched = counted(report.untouched as u64, "interface");
    let restart = report.needs_restart().count();
    let nothing = report.settings.is_empty() && report.interfaces.is_empty();
    let (text, colour) = match (report.dry_run, report.is_clean()) {
        _ if restart > 0 => (
            format!("a reload would be refused: {restart} of the settings need a restart"),
            Colour::Red,
        ),
        (true, _) if nothing => ("nothing would change".to_owned(), Colour::Green),
        (true, _) => ("nothing was changed: a dry run".to_owned(), Colour::Yellow),
        (false, true) if nothing => ("nothing to change".to_owned(), Colour::Green),
        (false, true) => {
            let text = match report.took_ms {
                0 => "reloaded in less than 1 ms".to_owned(),
                ms => format!("reloaded in {:.1?}", Duration::from_millis(ms)),
            };
            (text, Colour::Green)
        }
        (false, false) => ("reloaded in part".to_owned(), Colour::Red),
    };
    paint(
        style,
        colour,
        &format!("{text}; {untouched} {are} untouched"),
    )
}

#[cfg(test)]
mod tests {
    use super::{code, refusal, write};
    use crate::term::page::TableStyle;
    use probe_api::{
        Problem,
        reload::{Action, ChangeOutcome, InterfaceChange, ReloadReport, SettingChange},
    };

    fn shown(report: &ReloadReport) -> String {
        let mut out = Vec::new();
        let style = TableStyle {
            width: Some(60),
            colour: false,
        };
        write(&mut out, style, report).expect("written");
        String::from_utf8(out).expect("text")
    }

    fn setting(name: &str, live: bool) -> SettingChange {
        SettingChange {
            setting: name.to_owned(),
            before: Some("auto".to_owned()),
            after: None,
            live,
        }
    }

    fn interface(iface: &str, action: Action, outcome: ChangeOutcome) -> InterfaceChange {
        InterfaceChange {
            iface: iface.to_owned(),
            action,
            outcome,
            reason: None,
            gap_us: None,
        }
    }

    #[test]
    fn what_was_done_and_what_was_not_is_told_apart() {
        let mut restored = interface("eth10", Action::Updated, ChangeOutcome::Restored);
        restored.reason = Some("the driver does not take native XDP on this device".to_owned());
        let mut updated = interface("lo", Action::Updated, ChangeOutcome::Done);
        updated.gap_us = Some(1500);
        let report = ReloadReport {
            settings: vec![setting("interfaces.lo.hook", true)],
            interfaces: vec![restored, updated],
            untouched: 1,
            missing: vec!["eth7".to_owned(), "en*".to_owned()],
            ..ReloadReport::default()
        };
        assert_eq!(
            shown(&report),
            "settings\n  interfaces.lo.hook: auto -> (none)\ninterfaces\n  \
             eth10  failed, goes on as it was: not updated: the\n    \
             driver does not take native XDP on this device\n  \
             lo     updated, not captured for 1.5ms\n  \
             eth7: no such link; captured as soon as it appears\n  \
             en*: no such link (a name is taken as it is: patterns\n    \
             are regexes between slashes: `/^en/`); captured as soon\n    \
             as it appears\n\
             reloaded in part; 1 interface is untouched\n"
        );
        assert_eq!(code(&report), super::EXIT_TROUBLE.into());
    }

    #[test]
    fn a_dry_run_says_what_would_be_refused() {
        let mut report = ReloadReport {
            dry_run: true,
            interfaces: vec![interface("eth0", Action::Enabled, ChangeOutcome::Planned)],
            untouched: 2,
            ..ReloadReport::default()
        };
        assert_eq!(
            shown(&report),
            "interfaces\n  eth0  would be enabled\n\
             nothing was changed: a dry run; 2 interfaces are untouched\n"
        );
        assert_eq!(code(&report), std::process::ExitCode::SUCCESS);
        report.settings.push(setting("api.addr", false));
        let text = shown(&report);
        assert!(
            text.contains("api.addr: auto -> (none) (needs a restart)"),
            "{text}"
        );
        assert!(text.contains("1 of the settings need a restart"), "{text}");
        assert_eq!(code(&report), super::EXIT_CONFIG.into());
    }

    #[test]
    fn a_refusal_names_every_setting() {
        let problem = Problem {
            r#type: "about:blank".into(),
            title: "Conflict".to_owned(),
            status: 409,
            detail: "api.addr needs a restart".to_owned(),
            column: None,
            problems: Box::default(),
            settings: [setting("api.addr", false)].into(),
        };
        assert_eq!(
            refusal(&problem),
            "error: not reloaded: api.addr needs a restart\n  api.addr: auto -> (none)\n"
        );
    }
}
