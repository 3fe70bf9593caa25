//! Where the load of a scenario goes: what the command line says of it, or else its file. Pure; starts nothing.

use proofload_loadgen::run::ResolvedTarget;
use proofload_loadgen::scenario::{Scenario, Target};
use proofload_loadgen::transport::BaseUrl;

use crate::args::TargetArgs;

/// The target that the command line or the file names; `None` means a daemon of our own. The command line replaces
/// the file's URLs as a whole: half of one server and half of another would be measured as one. How the file speaks to
/// its target stays where the new URLs can be spoken to so: `http_version`, and TLS if one of them is `https://`.
pub(crate) fn named_target(args: &TargetArgs, file: Option<&Target>) -> Option<ResolvedTarget> {
    let replaced = replaced(args);
    if !replaced && file.is_none() {
        return None;
    }
    let url =
        |line: &Option<String>, file: Option<&String>| line.clone().or_else(|| file.filter(|_| !replaced).cloned());
    let named = ResolvedTarget {
        http_url: url(&args.target, file.and_then(|file| file.http.as_ref())),
        grpc_url: url(&args.grpc_target, file.and_then(|file| file.grpc.as_ref())),
        metrics_url: url(&args.metrics, file.and_then(|file| file.metrics.as_ref())),
        headers: file.map(|file| file.headers.clone()).unwrap_or_default(),
        http_version: file.map(|file| file.http_version).unwrap_or_default(),
        embedded: false,
        ..ResolvedTarget::default()
    };
    let tls = file.and_then(|file| file.tls.clone()).filter(|_| speaks_tls(&named));
    Some(ResolvedTarget { tls: tls.unwrap_or_default(), ..named })
}

fn speaks_tls(target: &ResolvedTarget) -> bool {
    let urls = [&target.http_url, &target.grpc_url, &target.metrics_url];
    // A URL that is none is complained of where it is resolved.
    urls.into_iter().flatten().any(|url| BaseUrl::parse(url).is_ok_and(|url| url.is_tls()))
}

fn replaced(args: &TargetArgs) -> bool {
    args.target.is_some() || args.grpc_target.is_some()
}

/// What the command line lacks to replace the target of this scenario, or states in vain.
pub(crate) fn problem(args: &TargetArgs, scenario: &Scenario) -> Option<String> {
    let file = scenario.source.path.display();
    if args.metrics.is_some() && named_target(args, scenario.target.as_ref()).is_none() {
        return Some(format!(
            "{file}: --metrics belongs to a target, and none is named: the embedded daemon has its own; add --target URL"
        ));
    }
    let grpc = scenario.mix.iter().find(|entry| entry.request.is_grpc())?;
    let lacking = args.target.is_some() && args.grpc_target.is_none();
    lacking
        .then(|| format!("{file}: entry `{}` speaks gRPC; say where with --grpc-target URL beside --target", grpc.name))
}

/// What to say when the file's metrics go unread because the command line names another target.
pub(crate) fn dropped_metrics(args: &TargetArgs, scenario: &Scenario) -> Option<String> {
    let url = scenario.target.as_ref()?.metrics.as_ref()?;
    (replaced(args) && args.metrics.is_none()).then(|| {
        format!(
            "{}: {url} is not scraped, because it belongs to the file's target and another is named here; say where \
             its metrics are with --metrics URL (default: /metrics of --target)",
            scenario.name
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use proofload_loadgen::transport::HttpVersion;

    const LOAD: &str =
        "kind = \"sustained\"\n[load]\nrate = 1\nduration = \"1s\"\n[[mix]]\nname = \"a\"\nprotocol = \"http\"\n";
    const FILE: &str = "[target]\nhttp = \"http://file:1\"\nmetrics = \"http://file:2/m\"\n";

    fn read(arguments: &[&str], target: &str) -> (TargetArgs, Scenario) {
        let text = format!("{LOAD}path = \"/\"\n{target}");
        let scenario = Scenario::parse(std::path::Path::new("a.toml"), &text, &[]).unwrap();
        let arguments = ["proofload", "run", "a.toml"].iter().chain(arguments);
        match crate::args::Cli::try_parse_from(arguments).unwrap().command {
            crate::args::Command::Run(args) => (args.target, scenario),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_replaces_the_target_as_a_whole() {
        let check = |arguments: &[&str], file: &str, expected: Option<(&str, Option<&str>)>, note: bool| {
            let (args, scenario) = read(arguments, file);
            let found = named_target(&args, scenario.target.as_ref());
            let found = found.as_ref().map(|t| (t.http_url.as_deref().unwrap(), t.metrics_url.as_deref()));
            assert_eq!(found, expected, "{arguments:?}");
            assert_eq!(dropped_metrics(&args, &scenario).is_some(), note, "{arguments:?}");
            assert_eq!(problem(&args, &scenario), None, "{arguments:?}");
        };
        let (here, there) = (["--target", "http://line:1"], ["--metrics", "http://line:2/m"]);
        let both = [here, there].concat();
        check(&[], "", None, false);
        check(&[], FILE, Some(("http://file:1", Some("http://file:2/m"))), false);
        check(&here, FILE, Some(("http://line:1", None)), true);
        check(&here, "", Some(("http://line:1", None)), false);
        check(&both, FILE, Some(("http://line:1", Some("http://line:2/m"))), false);
        check(&both, "", Some(("http://line:1", Some("http://line:2/m"))), false);
        check(&there, FILE, Some(("http://file:1", Some("http://line:2/m"))), false);
    }

    #[test]
    fn how_the_file_speaks_stays_where_the_new_urls_allow_it() {
        const SPOKEN: &str = "[target]\nhttp = \"https://file:1\"\nhttp_version = \"2\"\n\
                              [target.tls]\nserver_name = \"file.example\"\n";
        let check = |arguments: &[&str], file: &str, expected: (HttpVersion, Option<&str>)| {
            let (args, scenario) = read(arguments, file);
            let found = named_target(&args, scenario.target.as_ref()).unwrap();
            assert_eq!((found.http_version, found.tls.server_name.as_deref()), expected, "{arguments:?} {file}");
        };
        check(&[], SPOKEN, (HttpVersion::Http2, Some("file.example")));
        check(&["--target", "https://line:1"], SPOKEN, (HttpVersion::Http2, Some("file.example")));
        check(&["--target", "http://line:1"], SPOKEN, (HttpVersion::Http2, None));
        check(&["--target", "unix:/line.sock"], SPOKEN, (HttpVersion::Http2, None));
        check(&["--grpc-target", "https://line:2"], SPOKEN, (HttpVersion::Http2, Some("file.example")));
        let both = ["--target", "http://line:1", "--grpc-target", "https://line:2"];
        check(&both, SPOKEN, (HttpVersion::Http2, Some("file.example")));
        check(&["--target", "https://line:1"], FILE, (HttpVersion::Http1, None));
        check(&["--target", "https://line:1"], "", (HttpVersion::Http1, None));
    }

    #[test]
    fn metrics_without_a_target_are_refused() {
        let (args, scenario) = read(&["--metrics", "http://line:2/m"], "");
        assert!(problem(&args, &scenario).unwrap().contains("add --target URL"));
    }
}
