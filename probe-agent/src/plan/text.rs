//! The plan for people: one block a captured link, then the rest in a line each, the host, and the
//! verdict at the end, where a terminal shows it.

use std::io::{self, Write};

use super::{HookStep, InterfacePlan, Plan, ProgramPlan, Relation, Stacked, capacity::Memory};
use crate::term::page::{Colour, TableStyle, padded, paint, width_of, wrap};
use probe_flow::text::{counted, printable};

const INDENT: usize = 2;
const LABEL: usize = 13;
/// Of a list that may be long, so many items are shown.
const SHOWN: usize = 6;
/// Of warnings and problems, so many.
const LINES: usize = 20;

/// Writes the plan as text, in sections.
///
/// # Errors
///
/// `out` cannot be written.
pub fn write_text(out: &mut impl Write, style: TableStyle, plan: &Plan) -> io::Result<()> {
    let mut page = Page { out, style };
    for link in plan.captured() {
        page.link(link)?;
        page.blank()?;
    }
    page.not_captured(plan)?;
    page.host(plan)?;
    page.section("not checked", Colour::Yellow, &plan.not_checked)?;
    page.section("warnings", Colour::Yellow, &plan.warnings)?;
    page.section("problems", Colour::Red, &plan.problems)?;
    page.verdict(plan)
}

struct Page<'a, W> {
    out: &'a mut W,
    style: TableStyle,
}

impl<W: Write> Page<'_, W> {
    fn link(&mut self, link: &InterfacePlan) -> io::Result<()> {
        self.heading(Colour::Bold, &link.name)?;
        self.entry("link", &description(link))?;
        self.entry("rule", &link.rule)?;
        if let Some(problem) = &link.problem {
            self.coloured_entry(Colour::Red, "problem", problem)?;
        }
        self.hooks("received", &link.ingress)?;
        self.hooks("sent", &link.egress)?;
        for group in grouped(&link.stacked) {
            self.entry(label(group[0].relation), &relation(group))?;
        }
        for program in &link.programs {
            self.entry("attached now", &attached(program))?;
        }
        Ok(())
    }

    /// What is tried in a line, and what is not, with its reason, in one each.
    fn hooks(&mut self, side: &str, steps: &[HookStep]) -> io::Result<()> {
        let mut label = side;
        let tried: Vec<_> = steps.iter().filter(|step| step.skipped.is_none()).collect();
        if let Some(first) = tried.first() {
            let hooks: Vec<_> = tried.iter().map(|step| step.hook).collect();
            let text = format!("{}: {}", hooks.join(", else "), first.program);
            self.entry(label, &text)?;
            label = "";
        }
        for step in steps {
            if let Some(reason) = &step.skipped {
                self.entry(label, &format!("not {}: {reason}", step.hook))?;
                label = "";
            }
        }
        Ok(())
    }

    fn not_captured(&mut self, plan: &Plan) -> io::Result<()> {
        let mut links = plan
            .interfaces
            .iter()
            .filter(|link| !link.captured)
            .peekable();
        if links.peek().is_none() {
            return Ok(());
        }
        self.heading(Colour::Bold, "not captured")?;
        for link in links {
            self.entry(&link.name, &format!("{} ({})", link.rule, link.kind))?;
        }
        self.blank()
    }

    fn host(&mut self, plan: &Plan) -> io::Result<()> {
        let host = &plan.host;
        self.heading(Colour::Bold, "host")?;
        let present = host.features.iter().filter(|feature| feature.present);
        let present: Vec<_> = present.map(|feature| feature.name).collect();
        let kernel = format!("{} on {}", host.kernel, host.architecture);
        self.entry("kernel", &format!("{kernel}, with {}", present.join(", ")))?;
        for feature in host.features.iter().filter(|feature| !feature.present) {
            let text = format!("no {}: {}", feature.name, feature.without);
            self.coloured_entry(Colour::Yellow, "", &text)?;
        }
        if !host.capabilities.is_empty() {
            self.entry("capabilities", &host.capabilities.join(", "))?;
        }
        if !host.capabilities_missing.is_empty() {
            self.coloured_entry(
                Colour::Red,
                "lacking",
                &host.capabilities_missing.join(", "),
            )?;
        }
        self.entry("memory", &memory(&plan.memory))?;
        self.blank()
    }

    fn section(&mut self, title: &str, colour: Colour, lines: &[String]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        self.heading(colour, title)?;
        // A host of containers has hundreds of a kind.
        for line in lines.iter().take(LINES) {
            self.wrapped("- ", line)?;
        }
        if lines.len() > LINES {
            let more = format!("and {} more (--json has all)", lines.len() - LINES);
            self.wrapped("- ", &more)?;
        }
        self.blank()
    }

    fn verdict(&mut self, plan: &Plan) -> io::Result<()> {
        let links = plan.captured().count();
        if links == 0 && plan.can_attach {
            let text = "nothing would be captured: no link that is there is wanted";
            return self.heading(Colour::Yellow, text);
        }
        let links = format!("{links} {}", if links == 1 { "link" } else { "links" });
        if plan.can_attach {
            self.heading(Colour::Green, &format!("good: {links} would be captured"))
        } else {
            self.heading(Colour::Red, "not everything that is wanted can be attached")
        }
    }

    fn heading(&mut self, colour: Colour, text: &str) -> io::Result<()> {
        let text = printable(text);
        writeln!(self.out, "{}", paint(self.style, colour, &text))
    }

    fn blank(&mut self) -> io::Result<()> {
        writeln!(self.out)
    }

    fn entry(&mut self, label: &str, text: &str) -> io::Result<()> {
        self.coloured_entry(Colour::None, label, text)
    }

    fn coloured_entry(&mut self, colour: Colour, label: &str, text: &str) -> io::Result<()> {
        let label = printable(label);
        // Names of links have up to 15 characters.
        let gap = LABEL.max(width_of(&label) + 1);
        let lines = wrap(&printable(text), self.width(INDENT + gap));
        for (number, line) in lines.iter().enumerate() {
            let label = if number == 0 { &label } else { "" };
            let label = padded(label, gap);
            writeln!(
                self.out,
                "{:INDENT$}{}{line}",
                "",
                paint(self.style, colour, &label)
            )?;
        }
        Ok(())
    }

    fn wrapped(&mut self, bullet: &str, text: &str) -> io::Result<()> {
        let lines = wrap(&printable(text), self.width(INDENT + bullet.len()));
        for (number, line) in lines.iter().enumerate() {
            let bullet = if number == 0 { bullet } else { "  " };
            writeln!(self.out, "{:INDENT$}{bullet}{line}", "")?;
        }
        Ok(())
    }

    fn width(&self, taken: usize) -> usize {
        let width = self.style.page_width();
        width.saturating_sub(taken)
    }
}

fn description(link: &InterfacePlan) -> String {
    let mut parts = vec![link.kind.clone()];
    let driver = link.driver.as_ref().filter(|driver| **driver != link.kind);
    parts.extend(driver.map(|driver| format!("driver {driver}")));
    parts.push(format!("ARPHRD {} ({})", link.arphrd, link.arphrd_name));
    parts.extend(link.vlan_id.map(|id| format!("VLAN {id}")));
    parts.extend(link.mtu.map(|mtu| format!("MTU {mtu}")));
    parts.push(if link.up { "up" } else { "down" }.to_owned());
    parts.join(", ")
}

const fn label(relation: Relation) -> &'static str {
    match relation {
        Relation::Master => "member of",
        Relation::Member => "has members",
        Relation::Lower => "above",
        Relation::Upper => "below",
        Relation::Peer => "peer",
    }
}

/// Neighbours of one relation and kind.
fn grouped(stacked: &[Stacked]) -> impl Iterator<Item = &[Stacked]> {
    stacked.chunk_by(|a, b| a.relation == b.relation && a.kind == b.kind)
}

fn relation(group: &[Stacked]) -> String {
    let first = &group[0];
    if first.name.is_empty() {
        return first.meaning.clone();
    }
    let names: Vec<_> = group
        .iter()
        .take(SHOWN)
        .map(|other| {
            let note = if other.captured {
                " (captured too)"
            } else {
                ""
            };
            format!("{}{note}", other.name)
        })
        .collect();
    let more = match group.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let kind = match &first.kind {
        Some(kind) => format!("{kind} "),
        None => String::new(),
    };
    format!("{kind}{}{more}: {}", names.join(", "), first.meaning)
}

fn attached(program: &ProgramPlan) -> String {
    let mut text = match &program.name {
        Some(name) => format!("{}: {name}", program.hook),
        None => format!("{}: {}", program.hook, program.kind),
    };
    if let Some(id) = program.id {
        text = format!("{text} (program {id})");
    }
    if program.ours {
        text.push_str(", of this agent");
    }
    if !program.held_by.is_empty() {
        let holders = program.held_by.iter().take(SHOWN);
        let holders: Vec<_> = holders
            .map(|holder| format!("{} ({})", holder.command, holder.pid))
            .collect();
        text = format!("{text}, held by {}", holders.join(", "));
    }
    text
}

fn memory(memory: &Memory) -> String {
    let maps: Vec<_> = memory
        .maps
        .iter()
        .take(SHOWN)
        .map(|map| match map.bytes_per_cpu {
            Some(bytes) => format!("{} {} ({} per CPU)", map.name, size(map.bytes), size(bytes)),
            None => format!("{} {}", map.name, size(map.bytes)),
        })
        .collect();
    format!(
        "{} for {} on {} with {}: {}",
        size(memory.bytes),
        counted(memory.interfaces.into(), "interface"),
        counted(memory.cpus.into(), "CPU"),
        counted(memory.rings.into(), "ring"),
        maps.join(", ")
    )
}

/// `999 B`, `36.0 KiB`, `16.0 MiB`.
fn size(bytes: u64) -> String {
    let (mut tenths, mut unit) = (bytes.saturating_mul(10), "B");
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if tenths < 10 << 10 {
            break;
        }
        (tenths, unit) = (tenths >> 10, next);
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_have_one_decimal() {
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(16 << 20), "16.0 MiB");
    }
}
