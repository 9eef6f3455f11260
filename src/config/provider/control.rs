//! Endpoints at the root of model servers that steer the server, or show how it is set up or what others ask it. Some
//! ask nobody for a key there, and whoever may generate text may not therefore stop everybody else. `deny = []` opens
//! them.

use crate::config::kind::ProviderKind;

/// The rules that providers of this type have where nobody says otherwise.
pub(super) const fn denied(kind: ProviderKind) -> &'static [&'static str] {
    match kind {
        ProviderKind::Vllm | ProviderKind::Llmd => &VLLM,
        ProviderKind::Sglang => &SGLANG,
        ProviderKind::LlamaCpp => &LLAMA_CPP,
        _ => &[],
    }
}

const VLLM: [&str; 17] = [
    "* /pause",
    "* /resume",
    "* /abort_requests",
    "* /sleep",
    "* /wake_up",
    "* /reset_prefix_cache",
    "* /reset_mm_cache",
    "* /reset_encoder_cache",
    "* /collective_rpc",
    "* /init_weight_transfer_engine",
    "* /start_weight_update",
    "* /update_weights",
    "* /finish_weight_update",
    "* /scale_elastic_ep",
    "* /start_profile",
    "* /stop_profile",
    "* /server_info",
];

const SGLANG: [&str; 31] = [
    "* /abort_request",
    "* /pause_generation",
    "* /continue_generation",
    "* /flush_cache",
    "* /clear_*",
    "* /add_external_corpus",
    "* /remove_external_corpus",
    "* /list_external_corpora",
    "* /hicache*",
    "* /release_memory_occupation",
    "* /resume_memory_occupation",
    "* /update_weight*",
    "* /init_weights*",
    "* /destroy_weights*",
    "* /send_weights*",
    "* /get_weights_by_name",
    "* /weights_checker",
    "* /post_process_weights",
    "* /remote_instance*",
    "* /get_remote_instance*",
    "* /load_lora_adapter*",
    "* /unload_lora_adapter",
    "* /start_*",
    "* /stop_*",
    "* /dump_*",
    "* /freeze_gc",
    "* /slow_down",
    "* /configure_logging",
    "* /set_*",
    "* /server_info",
    "* /get_server_info",
];

const LLAMA_CPP: [&str; 8] = [
    "* /slots*",
    "* /streams*",
    "POST /props",
    "POST /lora-adapters",
    "POST /models*",
    "DELETE /models*",
    "* /tools*",
    "* /cors-proxy*",
];
