//! How much load a starting file asks for, and what counts as good enough: little, so that a first run harms nobody.

use super::Shape;
use crate::scenario::Protocol;

/// How fast a protocol's requests usually are.
pub(super) struct Pace {
    /// Requests per second to start with.
    rate: u32,
    /// Patience with one request.
    timeout: &'static str,
    /// Latency of the service level.
    latency: &'static str,
    /// Whether answers come in tokens.
    text: bool,
}

impl Pace {
    pub(super) fn of(protocol: Protocol) -> Self {
        match protocol {
            Protocol::OpenAiChat | Protocol::OpenAiCompletions | Protocol::Generate | Protocol::GenerateStream => {
                Self { rate: 1, timeout: "120s", latency: "20s", text: true }
            }
            _ => Self { rate: 10, timeout: "10s", latency: "300ms", text: false },
        }
    }

    pub(super) fn slo(&self) -> String {
        let tokens =
            if self.text { "# ttft = \"1s\"                   # time to the first token, of streams\n" } else { "" };
        format!(
            "[slo]\n\
             latency = \"{}\"               # 95 % of the arrivals are to be answered within this\n\
             percentile = 95.0\n\
             {tokens}error_rate = \"1%\"\n",
            self.latency
        )
    }
}

/// What the file asks, in a sentence.
pub(super) fn asks(shape: Shape) -> &'static str {
    match shape {
        Shape::Constant => "How long do answers take at one steady rate?",
        Shape::Sustained => "Does it bear this load?",
        Shape::Stress => "Where does it break?",
        Shape::Ramp => "How do latencies grow with the load?",
        Shape::Spike => "Does it survive a burst, and recover?",
        Shape::Sine => "Does it follow a day's curve?",
        Shape::Endurance => "Does it bear this load for long?",
        Shape::Users => "How does it serve so many users?",
        Shape::Mixed => "How does it serve users with different wishes?",
    }
}

/// The scenario language's word.
pub(super) fn kind(shape: Shape) -> &'static str {
    match shape {
        Shape::Stress => "stress",
        Shape::Ramp => "ramp",
        Shape::Spike => "spike",
        Shape::Endurance => "endurance",
        Shape::Constant | Shape::Sustained | Shape::Sine | Shape::Users | Shape::Mixed => "sustained",
    }
}

pub(super) fn thresholds(shape: Shape) -> &'static str {
    match shape {
        // Crossing the service level is the result there.
        Shape::Stress | Shape::Ramp => {
            "# thresholds = [\"breaking_point >= 50/s\"]   # what a release needs; without it the breaking point is told"
        }
        Shape::Spike => "thresholds = [\"error_rate <= 1%\"]   # sheds during the burst are no errors",
        Shape::Endurance => "thresholds = [\"error_rate <= 0.1%\"]",
        Shape::Constant | Shape::Sustained | Shape::Sine | Shape::Users | Shape::Mixed => {
            "thresholds = [\"error_rate <= 1%\"]   # also: \"p99 < 1s\", \"p95 < 500ms over any 10s else abort\""
        }
    }
}

/// `[load]` and the table of its shape.
pub(super) fn section(shape: Shape, pace: &Pace) -> String {
    let Pace { rate, timeout, .. } = pace;
    let (r5, r10, r20) = (rate * 5, rate * 10, rate * 20);
    let patience =
        format!("request_timeout = \"{timeout}\"         # from the intended arrival; what takes longer is an error\n");
    let hold = "warm_up = \"5s\"                  # at the same level, left out of every figure\n";
    let poisson = "arrivals = \"poisson\"            # as independent callers come; \"constant\" is evenly spaced\n";
    let table = match shape {
        Shape::Constant => format!(
            "arrivals = \"constant\"           # evenly spaced; \"poisson\" is how independent callers come\n\
             rate = \"{rate}/s\"\n{hold}duration = \"1m\"\n{patience}"
        ),
        Shape::Sustained => format!("{poisson}rate = \"{rate}/s\"\n{hold}duration = \"1m\"\n{patience}"),
        Shape::Endurance => {
            format!(
                "{poisson}rate = \"{rate}/s\"\n{hold}duration = \"1h\"                 # \"24h\" for leaks\n{patience}"
            )
        }
        Shape::Stress => format!(
            "{poisson}{patience}\n[load.steps]                    # ends once the service level has clearly broken\n\
             from = \"{rate}/s\"\nto = \"{r20}/s\"\npercent = \"10%\"                 # each step above the one before; or step = \"{rate}/s\"\n\
             hold = \"10s\"\nsettle = \"2s\"                   # start of each step that does not count\n"
        ),
        Shape::Ramp => {
            format!("{poisson}duration = \"2m\"\n{patience}\n[load.ramp]\nfrom = \"{rate}/s\"\nto = \"{r10}/s\"\n")
        }
        Shape::Spike => format!(
            "{poisson}{patience}\n[load.spike]\nbase = \"{rate}/s\"\npeak = \"{r10}/s\"                # beyond what it bears, to see it shed\n\
             before = \"20s\"\nhold = \"10s\"\nrecovery = \"30s\"\nrecover_within = \"10s\"          # after this the service level must be kept again\n"
        ),
        Shape::Sine => format!(
            "{poisson}duration = \"10m\"\n{patience}\n[load.sine]\nmean = \"{r5}/s\"\namplitude = \"{}/s\"\nperiod = \"10m\"                  # \"24h\" for a real day, with duration = \"24h\"\n",
            r5 - rate
        ),
        Shape::Users | Shape::Mixed => format!(
            "model = \"closed\"                # users wait for their answers: a slow server slows them down\n\
             users = {rate}\nthink_time = \"1s\"               # between an answer and the next request\n\
             think_distribution = \"exponential\"\n{hold}duration = \"1m\"\n{patience}"
        ),
    };
    format!("[load]\n{table}")
}
