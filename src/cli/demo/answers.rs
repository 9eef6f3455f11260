//! What the mock providers answer: whole documents and event streams in the shapes that the
//! providers' own SDKs accept, chosen by the path alone. No sockets and no clocks.

/// What a provider answers to one request.
pub(super) enum Answer {
    /// A status line's code and reason, and a JSON document.
    Document(&'static str, &'static str),
    /// Server-sent events, each complete with its blank line.
    Events(Vec<String>),
}

/// The answer for `path`, as a stream where the client `streamed` and the endpoint can.
pub(super) fn answer(path: &str, streamed: bool) -> Answer {
    let last = path.rsplit('/').next().unwrap_or_default();
    match last {
        "messages" if streamed => Answer::Events(messages_events()),
        "messages" => Answer::Document(OK, MESSAGE),
        "responses" if streamed => Answer::Events(responses_events()),
        "responses" => Answer::Document(OK, RESPONSE),
        "completions" if streamed => Answer::Events(chat_events()),
        "completions" => Answer::Document(OK, COMPLETION),
        "models" => Answer::Document(OK, MODELS),
        "count_tokens" => Answer::Document(OK, r#"{"input_tokens":3}"#),
        // Two of vllm's endpoints at its root.
        "tokenize" => Answer::Document(OK, r#"{"count":3,"max_model_len":4096,"tokens":[1,2,3]}"#),
        "health" => Answer::Document(OK, "{}"),
        _ => Answer::Document("404 Not Found", NOT_FOUND),
    }
}

/// The streamed text, a piece an event.
const WORDS: [&str; 8] = [
    "Requests", " in,", " tokens", " out:", " nothing", " lost,", " nothing", " added.",
];

const OK: &str = "200 OK";

const NOT_FOUND: &str = r#"{"type":"error","error":{"type":"not_found_error",
"message":"the demo's provider has no such endpoint","param":null,"code":null}}"#;

const MODELS: &str = r#"{"object":"list","has_more":false,"data":[{"id":"demo-model",
"object":"model","created":0,"owned_by":"demo",
"type":"model","display_name":"Demo","created_at":"2026-01-01T00:00:00Z"}]}"#;

const MESSAGE: &str = r#"{"id":"msg_demo","type":"message","role":"assistant","model":"demo-model",
"content":[{"type":"text","text":"Hello from the demo."}],
"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":5}}"#;

const COMPLETION: &str = r#"{"id":"chatcmpl-demo","object":"chat.completion","created":0,
"model":"demo-model","choices":[{"index":0,"finish_reason":"stop",
"message":{"role":"assistant","content":"Hello from the demo."}}],
"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}}"#;

const RESPONSE: &str = r#"{"id":"resp_demo","object":"response","created_at":0,
"status":"completed","model":"demo-model","output":[{"type":"message","id":"msg_demo",
"role":"assistant","status":"completed",
"content":[{"type":"output_text","annotations":[],"text":"Hello from the demo."}]}],
"parallel_tool_calls":true,"tool_choice":"auto","tools":[]}"#;

/// An Anthropic message: the event's name is repeated as the document's type.
fn messages_events() -> Vec<String> {
    let start = concat!(
        r#""message":{"id":"msg_demo","type":"message","role":"assistant","model":"demo-model","#,
        r#""content":[],"stop_reason":null,"stop_sequence":null,"#,
        r#""usage":{"input_tokens":3,"output_tokens":1}}"#,
    );
    let block = r#""index":0,"content_block":{"type":"text","text":""}"#;
    let end =
        r#""delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":8}"#;
    let mut events = vec![
        named("message_start", start),
        named("content_block_start", block),
    ];
    events.extend(WORDS.map(|word| {
        let delta = format!(r#""index":0,"delta":{{"type":"text_delta","text":"{word}"}}"#);
        named("content_block_delta", &delta)
    }));
    events.push(named("content_block_stop", r#""index":0"#));
    events.push(named("message_delta", end));
    events.push("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n".to_owned());
    events
}

/// An OpenAI chat completion: events without names, `[DONE]` at the end.
fn chat_events() -> Vec<String> {
    let chunk = |delta: &str, finish: &str| {
        let choice = format!(r#"{{"index":0,"finish_reason":{finish},"delta":{{{delta}}}}}"#);
        let common = concat!(
            r#""id":"chatcmpl-demo","object":"chat.completion.chunk","#,
            r#""created":0,"model":"demo-model""#,
        );
        format!("data: {{{common},\"choices\":[{choice}]}}\n\n")
    };
    let mut events = vec![chunk(r#""role":"assistant","content":"""#, "null")];
    events.extend(WORDS.map(|word| chunk(&format!(r#""content":"{word}""#), "null")));
    events.push(chunk("", r#""stop""#));
    events.push("data: [DONE]\n\n".to_owned());
    events
}

/// An OpenAI response: one item with one part, each announced, filled and closed.
fn responses_events() -> Vec<String> {
    let text = WORDS.concat();
    let part = |text: &str| format!(r#"{{"type":"output_text","annotations":[],"text":"{text}"}}"#);
    let item = |status: &str, content: &str| {
        let common = r#""type":"message","id":"msg_demo","role":"assistant""#;
        format!(r#"{{{common},"status":"{status}","content":[{content}]}}"#)
    };
    let response = |status: &str, output: &str| {
        let common = concat!(
            r#""id":"resp_demo","object":"response","created_at":0,"model":"demo-model","#,
            r#""parallel_tool_calls":true,"tool_choice":"auto","tools":[]"#,
        );
        format!(r#""response":{{{common},"status":"{status}","output":[{output}]}}"#)
    };
    let in_item = r#""item_id":"msg_demo","output_index":0,"content_index":0"#;
    let whole = item("completed", &part(&text));

    let mut steps = vec![
        ("created", response("in_progress", "")),
        (
            "output_item.added",
            format!(r#""output_index":0,"item":{}"#, item("in_progress", "")),
        ),
        (
            "content_part.added",
            format!(r#"{in_item},"part":{}"#, part("")),
        ),
    ];
    steps.extend(WORDS.map(|word| {
        (
            "output_text.delta",
            format!(r#"{in_item},"logprobs":[],"delta":"{word}""#),
        )
    }));
    steps.extend([
        (
            "output_text.done",
            format!(r#"{in_item},"logprobs":[],"text":"{text}""#),
        ),
        (
            "content_part.done",
            format!(r#"{in_item},"part":{}"#, part(&text)),
        ),
        (
            "output_item.done",
            format!(r#""output_index":0,"item":{whole}"#),
        ),
        ("completed", response("completed", &whole)),
    ]);
    let numbered = steps.iter().enumerate().map(|(number, (name, fields))| {
        named(
            &format!("response.{name}"),
            &format!(r#""sequence_number":{number},{fields}"#),
        )
    });
    numbered.collect()
}

/// One event with a name, and that name as the type of its document.
fn named(name: &str, fields: &str) -> String {
    format!("event: {name}\ndata: {{\"type\":\"{name}\",{fields}}}\n\n")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_answer_is_json_and_every_event_complete() {
        for path in [
            "/v1/messages",
            "/v1/messages/count_tokens",
            "/v1/chat/completions",
            "/v1/responses",
            "/v1/models",
            "/tokenize",
            "/health",
            "/v1/nothing",
        ] {
            for streamed in [false, true] {
                let events = match answer(path, streamed) {
                    Answer::Document(_, json) => {
                        assert!(
                            serde_json::from_str::<Value>(json).is_ok(),
                            "{path}: {json}"
                        );
                        continue;
                    }
                    Answer::Events(events) => events,
                };
                for event in events {
                    let (_, data) = event.split_once("data: ").unwrap();
                    let data = data.strip_suffix("\n\n").unwrap();
                    assert!(!data.contains('\n'), "{path}: {event}");
                    let parsed = serde_json::from_str::<Value>(data);
                    assert!(parsed.is_ok() || data == "[DONE]", "{path}: {data}");
                }
            }
        }
    }
}
