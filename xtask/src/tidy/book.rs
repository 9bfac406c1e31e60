//! The book, and that what documents point to is there.

use std::fs;
use std::path::{Path, PathBuf};

use super::{assert_tidy, packages, root};

/// Where the pages are.
const PAGES: &str = "book/src";
/// Documents besides them.
const DOCUMENTS: [&str; 4] = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "examples/README.md"];

#[test]
fn every_page_is_in_the_book_and_is_tested() {
    let text = |name| fs::read_to_string(root().join(name)).expect("a readable part of the book");
    let (summary, library) = (text("book/src/SUMMARY.md"), text("book/lib.rs"));
    let pages = files(PAGES, "md");
    let pages = pages.iter().filter_map(|path| path.strip_prefix("book/src/")).filter(|page| *page != "SUMMARY.md");
    assert_tidy(&pages.flat_map(|page| loose(page, &summary, &library)).collect::<Vec<_>>());
}

#[test]
fn links_lead_somewhere() {
    let mut complaints = Vec::new();
    let text = |path: &str| fs::read_to_string(root().join(path)).ok();
    for path in files(PAGES, "md").into_iter().chain(DOCUMENTS.map(str::to_owned)) {
        let markdown = text(&path).expect("a readable document");
        complaints.extend(broken(&path, Path::new(&path), &markdown, Links::All, &text));
    }
    for package in packages().into_iter().filter(|package| package.is_crate()) {
        // Read in target/doc/ipc_x, whatever the file, which is as deep as this.
        let page = package.folder.join("src/lib.rs");
        for path in files(&package.folder.join("src").to_string_lossy(), "rs") {
            let source = text(&path).expect("a readable source file");
            complaints.extend(broken(&path, &page, &documentation(&source), Links::Paths, &text));
        }
    }
    assert_tidy(&complaints);
}

fn loose(page: &str, summary: &str, library: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if !summary.contains(&format!("]({page})")) {
        complaints.push(format!("book/src/{page} is not in book/src/SUMMARY.md: give it a place in the book"));
    }
    if !library.contains(&format!("#[doc = include_str!(\"src/{page}\")]")) {
        complaints
            .push(format!("book/src/{page} is not in book/lib.rs: include it there, so that its programs are tested"));
    }
    complaints
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Links {
    All,
    /// Only those with a slash: the others name items.
    Paths,
}

/// The links in `markdown`, which stands in the file `path` and is read as if it were at `page`, to files or headings that are not there.
fn broken(path: &str, page: &Path, markdown: &str, which: Links, read: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let mut complaints = Vec::new();
    for (line, link) in links(markdown) {
        let (file, heading) = link.split_once('#').map_or((&link[..], None), |(file, heading)| (file, Some(heading)));
        if link.contains("://") || which == Links::Paths && !file.contains('/') {
            continue;
        }
        let target = match other_crate(file).filter(|_| which == Links::Paths) {
            Some(folder) => Some(folder),
            None if file.is_empty() => Some(page.to_owned()),
            None => resolve(page, file),
        };
        let Some(target) = target.filter(|target| root().join(target).exists()) else {
            complaints.push(format!("{path}:{line}: there is no {file}: correct the link, or remove it"));
            continue;
        };
        let target = target.to_string_lossy();
        if page.starts_with(PAGES) && target.ends_with(".md") && !target.starts_with(PAGES) {
            complaints.push(format!(
                "{path}:{line}: mdBook turns {file} into a page that it does not make: link to the folder, or do without"
            ));
        }
        let Some(heading) = heading.filter(|_| target.ends_with(".md")) else { continue };
        let own = file.is_empty().then(|| markdown.to_owned());
        if !headings(&own.or_else(|| read(&target)).unwrap_or_default()).iter().any(|known| known == heading) {
            complaints.push(format!(
                "{path}:{line}: there is no heading #{heading} in {target}: correct the link, or remove it"
            ));
        }
    }
    complaints
}

/// The folder of the crate whose documentation a link leads to, as from `target/doc/ipc_x/index.html`: no crate can name those that do
/// not stand below it.
fn other_crate(link: &str) -> Option<PathBuf> {
    let (name, _page) = link.strip_prefix("../ipc_")?.split_once('/')?;
    Some(format!("crates/ipc-{name}").into())
}

/// Where a link leads that stands in the file `page`; `None` if that is outside of the workspace.
fn resolve(page: &Path, link: &str) -> Option<PathBuf> {
    let mut target = page.parent()?.to_owned();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => target.pop().then_some(())?,
            name => target.push(name),
        }
    }
    Some(target)
}

/// What is linked to, as `[text](target)` or `[label]: target`, with the number of the line; not in programs.
fn links(markdown: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (line, text) in prose(markdown) {
        let definition = text.trim_start().strip_prefix('[').and_then(|rest| rest.split_once("]: "));
        if let Some((_, target)) = definition {
            links.push((line, target.trim().to_owned()));
        }
        for rest in text.split("](").skip(1) {
            links.extend(rest.split_once(')').map(|(target, _)| (line, target.to_owned())));
        }
    }
    // A title may stand behind the target, and the target in angle brackets.
    let bare = |target: &str| target.split(' ').next().unwrap_or_default().trim_matches(['<', '>']).to_owned();
    links.into_iter().map(|(line, target)| (line, bare(&target))).filter(|(_, target)| !target.is_empty()).collect()
}

/// The names by which headings are linked to.
fn headings(markdown: &str) -> Vec<String> {
    let name = |text: &str| {
        let letters = text.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        letters.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
    };
    let lines = markdown_lines(markdown).filter(|(_, line)| line.starts_with('#'));
    lines.map(|(_, line)| name(line.trim_start_matches('#'))).collect()
}

/// Lines without programs and without what is code.
fn prose(markdown: &str) -> impl Iterator<Item = (usize, String)> {
    markdown_lines(markdown).map(|(line, text)| {
        let parts = text.split('`').enumerate();
        // Every second part is code; a link may have code in its text, so something has to stay there.
        (line, parts.map(|(index, part)| if index % 2 == 0 { part } else { "x" }).collect())
    })
}

fn markdown_lines(markdown: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_program = false;
    markdown.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_program ^= is_fence;
        (!is_fence && !is_program).then_some((index + 1, line))
    })
}

/// The documentation in a source file as Markdown, at the same lines.
fn documentation(source: &str) -> String {
    let text = |line: &str| {
        let line = line.trim_start();
        let text = line.strip_prefix("///").or_else(|| line.strip_prefix("//!")).unwrap_or_default();
        text.strip_prefix(' ').unwrap_or(text).to_owned() + "\n"
    };
    source.lines().map(text).collect()
}

/// The files of this kind in a folder and below it, as paths below the root, sorted.
fn files(folder: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join(folder)).expect("a readable folder") {
        let path = entry.expect("a readable folder").path();
        let name = format!("{folder}/{}", path.file_name().expect("it has a name").to_string_lossy());
        if path.is_dir() {
            found.extend(files(&name, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(name);
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::{Links, PAGES, broken, documentation, files, headings, links, loose, resolve};
    use std::path::{Path, PathBuf};

    #[test]
    fn a_loose_page_is_found() {
        let (summary, library) = ("- [A](a.md)\n", "#[doc = include_str!(\"src/a.md\")]\nstruct A;\n");
        assert!(loose("a.md", summary, library).is_empty());
        assert_eq!(loose("b.md", summary, library).len(), 2);
        assert_eq!(loose("a.md", "", library).len(), 1);
        assert_eq!(loose("a.md", summary, "").len(), 1);
    }

    fn complaints(path: &str, markdown: &str, which: Links) -> Vec<String> {
        broken(path, Path::new(path), markdown, which, &|_| None)
    }

    #[test]
    fn a_link_to_nothing_is_found() {
        let good = "[a](README.md), [`b`](examples/tour/main.rs \"title\") ![c](crates/ipc-core) <https://d.e/f>\n[g]: LICENSE\n[h](https://i)\n";
        assert!(complaints("x.md", good, Links::All).is_empty());
        for bad in
            ["[a](NOWHERE.md)", "a [`b`]\n\n[`b`]: examples/nowhere.rs", "[a](../README.md)", "| [a](nowhere/b) |"]
        {
            assert_eq!(complaints("x.md", bad, Links::All).len(), 1, "{bad}");
        }
        assert!(complaints("book/src/x.md", "[a](../../examples/tour/main.rs)", Links::All).is_empty());
        let complaint = complaints("book/src/x.md", "\n[a](../examples/tour/main.rs)", Links::All).remove(0);
        assert!(complaint.starts_with("book/src/x.md:2: there is no ../examples/tour/main.rs"), "{complaint}");
    }

    #[test]
    fn a_link_that_mdbook_breaks_is_found() {
        assert_eq!(
            complaints("book/src/x.md", "[a](../../README.md) [b](choosing.md) [c](../../examples)", Links::All).len(),
            1
        );
    }

    #[test]
    fn a_link_to_no_heading_is_found() {
        let text = "# Two words, `Three`\n[a](#two-words-three)";
        assert!(complaints("README.md", text, Links::All).is_empty());
        assert_eq!(complaints("README.md", &format!("{text} [b](#two)"), Links::All).len(), 1);
        assert_eq!(headings("# A | B-c: d_e!\n```\n# no\n```\n"), ["a--b-c-d_e"]);
    }

    #[test]
    fn programs_and_items_are_no_links() {
        assert!(links("```\n[a](b)\n```\n`[c](d)` [e] (f) a[0](1)").iter().all(|(_, target)| target == "1"));
        let docs = documentation(
            "//! [a](crate::B) [c](Error#d)\nlet e = [f](g/h);\n    /// [i](../../../examples/nowhere.rs)\n",
        );
        let page = "crates/ipc-core/src/lib.rs";
        let complaints = complaints(page, &docs, Links::Paths);
        assert_eq!(complaints.len(), 1);
        assert!(complaints[0].starts_with("crates/ipc-core/src/lib.rs:3: "));
    }

    #[test]
    fn the_documentation_of_one_crate_links_to_that_of_another() {
        let page = "crates/ipc-sync/src/lib.rs";
        assert!(complaints(page, "[a](../ipc_shm/index.html)", Links::Paths).is_empty());
        assert_eq!(complaints(page, "[a](../ipc_nothing/index.html)", Links::Paths).len(), 1);
        assert_eq!(complaints("x.md", "[a](../ipc_shm/index.html)", Links::All).len(), 1);
    }

    #[test]
    fn links_do_not_leave_the_workspace() {
        assert_eq!(resolve(Path::new("a/b.md"), "../c/./d"), Some(PathBuf::from("c/d")));
        assert_eq!(resolve(Path::new("a/b.md"), "../../c"), None);
    }

    #[test]
    fn pages_and_sources_are_looked_at() {
        assert!(files(PAGES, "md").contains(&"book/src/choosing.md".to_owned()));
        assert!(files("crates/ipc-core/src", "rs").contains(&"crates/ipc-core/src/spawn/process.rs".to_owned()));
    }
}
