"""Attribute keys: one constant per key, upstream's names first, then our own."""

from __future__ import annotations

from typing import Final

CODE_FILE: Final = "code.file.path"
CODE_FUNCTION: Final = "code.function.name"
CODE_LINE: Final = "code.line.number"
CODE_STACKTRACE: Final = "code.stacktrace"
CPU_MODE: Final = "cpu.mode"
CPU_NUMBER: Final = "cpu.logical_number"
DISK_DIRECTION: Final = "disk.io.direction"
ERROR_TYPE: Final = "error.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"
EXCEPTION_TYPE: Final = "exception.type"
HW_ID: Final = "hw.id"
HW_NAME: Final = "hw.name"
HW_TYPE: Final = "hw.type"
HTTP_STATUS: Final = "http.response.status_code"
HW_PARENT: Final = "hw.parent"
HW_SENSOR: Final = "hw.sensor_location"
HW_STATE: Final = "hw.state"
EVENT_NAME: Final = "otel.event.name"
K8S_NAMESPACE: Final = "k8s.namespace.name"
K8S_NODE: Final = "k8s.node.name"
K8S_POD: Final = "k8s.pod.name"
GC_GENERATION: Final = "cpython.gc.generation"
METRIC_OVERFLOW: Final = "otel.metric.overflow"
NETWORK_DIRECTION: Final = "network.io.direction"
NETWORK_INTERFACE: Final = "network.interface.name"
NETWORK_STATE: Final = "network.connection.state"
NETWORK_TRANSPORT: Final = "network.transport"
PAGING_FAULT: Final = "system.paging.fault.type"
PAGING_STATE: Final = "system.paging.state"
QUANTILE: Final = "quantile"
PROCESS_SWITCH: Final = "process.context_switch.type"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
SERVICE_NAME: Final = "service.name"
SYSTEM_DEVICE: Final = "system.device"
SYSTEM_FILESYSTEM_STATE: Final = "system.filesystem.state"
SYSTEM_FILESYSTEM_TYPE: Final = "system.filesystem.type"
SERVICE_VERSION: Final = "service.version"
SYSTEM_MEMORY_STATE: Final = "system.memory.state"
SYSTEM_MOUNTPOINT: Final = "system.filesystem.mountpoint"
VCS_REVISION: Final = "vcs.ref.head.revision"

GEN_AI_CACHE_CREATION_TOKENS: Final = "gen_ai.usage.cache_creation.input_tokens"
GEN_AI_CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
GEN_AI_CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"
GEN_AI_CHOICE_COUNT: Final = "gen_ai.request.choice.count"
GEN_AI_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
GEN_AI_FREQUENCY_PENALTY: Final = "gen_ai.request.frequency_penalty"
GEN_AI_INPUT_MESSAGES: Final = "gen_ai.input.messages"
GEN_AI_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
GEN_AI_OPERATION: Final = "gen_ai.operation.name"
GEN_AI_OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
GEN_AI_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
GEN_AI_OUTPUT_TYPE: Final = "gen_ai.output.type"
GEN_AI_PRESENCE_PENALTY: Final = "gen_ai.request.presence_penalty"
GEN_AI_PROVIDER: Final = "gen_ai.provider.name"
GEN_AI_REASONING_LEVEL: Final = "gen_ai.request.reasoning.level"
GEN_AI_REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
GEN_AI_RESPONSE_ID: Final = "gen_ai.response.id"
GEN_AI_RESPONSE_MODEL: Final = "gen_ai.response.model"
GEN_AI_SEED: Final = "gen_ai.request.seed"
GEN_AI_STOP_SEQUENCES: Final = "gen_ai.request.stop_sequences"
GEN_AI_STREAM: Final = "gen_ai.request.stream"
GEN_AI_SYSTEM_INSTRUCTIONS: Final = "gen_ai.system_instructions"
GEN_AI_TEMPERATURE: Final = "gen_ai.request.temperature"
GEN_AI_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
GEN_AI_TOKEN_MODALITY: Final = "gen_ai.token.modality"
GEN_AI_TOKEN_TYPE: Final = "gen_ai.token.type"
GEN_AI_TOP_P: Final = "gen_ai.request.top_p"
OPENAI_API: Final = "openai.api.type"
OPENAI_FINGERPRINT: Final = "openai.response.system_fingerprint"
OPENAI_REQUEST_TIER: Final = "openai.request.service_tier"
OPENAI_RESPONSE_TIER: Final = "openai.response.service_tier"

ACTUAL: Final = "llmon.actual"
BENCHMARK: Final = "llmon.benchmark"
BIN: Final = "llmon.bin"
BIN_NEXT: Final = "llmon.bin.next"
BUILD: Final = "llmon.build"
CHECK: Final = "llmon.check"
CHUNKS: Final = "llmon.stream.chunks"
CIRCUIT: Final = "llmon.circuit"
CLOCK: Final = "llmon.clock"
COMPONENT: Final = "llmon.component"
KEEP: Final = "llmon.keep"
AFTER: Final = "llmon.after"
ATTEMPT: Final = "llmon.attempt"
DIRECTION: Final = "llmon.direction"
EPOCH: Final = "llmon.epoch"
DONE: Final = "llmon.done"
ETA: Final = "llmon.eta"
FAILOVER_FROM: Final = "llmon.failover.from"
FAILOVER_TO: Final = "llmon.failover.to"
FEATURE: Final = "llmon.feature"
INPUT_SHAPE: Final = "llmon.input.shape"
INPUT_TYPE: Final = "llmon.input.type"
ITEMS: Final = "llmon.items"
GPU_INDEX: Final = "llmon.gpu.index"
JOB_ID: Final = "llmon.job.id"
KIND: Final = "llmon.kind"
LINK: Final = "llmon.link"
LOCAL_RANK: Final = "llmon.local_rank"
METHOD: Final = "llmon.method"
MODEL: Final = "llmon.model"
MODEL_PARAMETERS: Final = "llmon.model.parameters"
MODEL_TYPE: Final = "llmon.model.type"
MODEL_VERSION: Final = "llmon.model.version"
OPERATION: Final = "llmon.operation"
OUTCOME: Final = "llmon.outcome"
OUTPUT_SHAPE: Final = "llmon.output.shape"
OUTPUT_TYPE: Final = "llmon.output.type"
PART: Final = "llmon.part"
PHASE: Final = "llmon.phase"
PIPELINE: Final = "llmon.pipeline"
PIPELINE_PHASES: Final = "llmon.pipeline.phases"
PREDICTED: Final = "llmon.predicted"
PRESSURE_KIND: Final = "llmon.pressure"
QUALITY_EXAMPLES: Final = "llmon.quality.examples"
QUALITY_HEALTHY: Final = "llmon.quality.is_healthy"
QUALITY_RANGES: Final = "llmon.quality.ranges"
QUALITY_RESULT: Final = "llmon.quality.result"
QUALITY_TYPES: Final = "llmon.quality.types"
QUALITY_VIOLATED: Final = "llmon.quality.violated"
QUALITY_WORST: Final = "llmon.quality.worst"
QUANTITY: Final = "llmon.quantity"
RANK: Final = "llmon.rank"
RATE: Final = "llmon.rate"
REASON: Final = "llmon.reason"
REFERENCE: Final = "llmon.reference"
RESOURCE: Final = "llmon.resource"
ROWS: Final = "llmon.rows"
SIGNAL: Final = "llmon.signal"
SOURCE: Final = "llmon.source"
SPLIT: Final = "llmon.split"
STATE: Final = "llmon.state"
WINDOW: Final = "llmon.window"
TORCH_DEVICE: Final = "llmon.torch.device"
STEP: Final = "llmon.step"
TARGET: Final = "llmon.target"
TARGET_TYPE: Final = "llmon.target.type"
WORKER_ID: Final = "llmon.worker.id"
WORLD_SIZE: Final = "llmon.world_size"

ALLOCATION_COUNTS: Final = "llmon.allocation.counts"
ALLOCATION_LINES: Final = "llmon.allocation.lines"
ALLOCATION_SIZES: Final = "llmon.allocation.sizes"
CPU_THREAD_TIME: Final = "llmon.cpu.thread_time"
CPU_TIME: Final = "llmon.cpu.time"
CPU_UTILIZATION_MAX: Final = "llmon.cpu.utilization.max"
CPU_UTILIZATION_MEAN: Final = "llmon.cpu.utilization.mean"
DISK_READ: Final = "llmon.disk.read"
DISK_WRITE: Final = "llmon.disk.write"
GPU_MEMORY_PEAK: Final = "llmon.gpu.memory.peak"
GPU_UTILIZATION_MEAN: Final = "llmon.gpu.utilization.mean"
MEMORY_DELTA: Final = "llmon.memory.delta"
MEMORY_MEAN: Final = "llmon.memory.mean"
MEMORY_PEAK: Final = "llmon.memory.peak"
MEMORY_PEAK_EXACT: Final = "llmon.memory.peak_exact"
PROFILE_FILE: Final = "llmon.profile.file"
SWITCHES_INVOLUNTARY: Final = "llmon.context_switches.involuntary"
SWITCHES_VOLUNTARY: Final = "llmon.context_switches.voluntary"
TOTAL: Final = "llmon.total"

MEANINGS: Final = {
    CODE_FILE: "file that logged (log records only)",
    CODE_FUNCTION: "function that logged (log records only)",
    CODE_LINE: "line that logged (log records only)",
    CODE_STACKTRACE: "how the program came to the line, where `stack_info` asked for it (log records only)",
    CPU_NUMBER: "number of the logical CPU; only with `host.cpus`",
    DISK_DIRECTION: "read or write",
    GC_GENERATION: "0, 1 or 2",
    HW_ID: "what tells a component from others of its type; of a GPU, or of a part of a divided one, its UUID",
    HW_NAME: "what a person calls the component",
    HW_TYPE: "cpu or gpu",
    NETWORK_DIRECTION: "receive or transmit",
    NETWORK_INTERFACE: "name of the interface; only with `host.interfaces`",
    NETWORK_STATE: "established, listen, time_wait, ...",
    NETWORK_TRANSPORT: "tcp or udp",
    PAGING_FAULT: "major, where a disk had to be read, or minor",
    PAGING_STATE: "used or free",
    PRESSURE_KIND: "some: at least one task waited; full: all of them did",
    PROCESS_SWITCH: "voluntary, where a thread waited for something, or involuntary",
    SYSTEM_DEVICE: "name of the disk; only with `host.disks`, and on filesystems",
    SYSTEM_FILESYSTEM_STATE: "used, free or reserved (for root)",
    SYSTEM_FILESYSTEM_TYPE: "ext4, xfs, overlay, ...",
    SYSTEM_MOUNTPOINT: "folder at which the filesystem is seen",
    WINDOW: "1m, 5m or 15m: what the average goes back to",
    CPU_MODE: "what the CPU was doing: user, system, idle, iowait, ...",
    ERROR_TYPE: "class of the exception that ended the work; of a GPU: corrected, uncorrected, pcie_replay, nvlink_crc, xid",
    EXCEPTION_MESSAGE: "what a logged exception said (log records only)",
    EXCEPTION_STACKTRACE: "where a logged exception was raised (log records only)",
    EXCEPTION_TYPE: "class of a logged exception (log records only)",
    HTTP_STATUS: "status of the HTTP answer that failed a model call (spans only)",
    EVENT_NAME: "in `extra=` of a log line: makes an event of this name of it (it is no attribute then)",
    K8S_NAMESPACE: "namespace of the pod (resources only)",
    K8S_NODE: "node that the pod runs on (resources only)",
    K8S_POD: "pod that the program runs in (resources only)",
    QUANTILE: "0.1, 0.5 or 0.9: how likely it is less than that",
    METRIC_OVERFLOW: "true on the one series that takes what is past a metric's cap",
    SERVER_ADDRESS: "host of the server that was called",
    SERVER_PORT: "its port",
    SERVICE_NAME: "name of the program that reports (resources only)",
    HW_PARENT: "`hw.id` of the GPU that an instance is part of; absent on a whole GPU",
    HW_SENSOR: "where the temperature is taken: gpu or memory",
    HW_STATE: "ok or failed",
    SERVICE_VERSION: "its version, as `OTEL_RESOURCE_ATTRIBUTES` says it (resources only)",
    SYSTEM_MEMORY_STATE: "used, free, cached or buffers",
    VCS_REVISION: "commit that was measured",
    GEN_AI_CACHE_CREATION_TOKENS: "prompt tokens that the provider put into its cache; the name up to v1.41 (spans only)",
    GEN_AI_CACHE_READ_TOKENS: "prompt tokens that came from the provider's cache (spans only)",
    GEN_AI_CACHE_WRITE_TOKENS: "prompt tokens that the provider put into its cache (spans only)",
    GEN_AI_CHOICE_COUNT: "answers asked for, where it is not one (spans only)",
    GEN_AI_FINISH_REASONS: "why each answer ended; error where it did not come to its end (spans only)",
    GEN_AI_FREQUENCY_PENALTY: "frequency penalty asked for (spans only)",
    GEN_AI_INPUT_MESSAGES: "the prompt, as JSON; only with `capture_content` (spans only)",
    GEN_AI_INPUT_TOKENS: "tokens of the prompt (spans only)",
    GEN_AI_MAX_TOKENS: "most tokens that the model may answer with (spans only)",
    GEN_AI_OPERATION: "what the model is asked to do: chat, embeddings, ...",
    GEN_AI_OUTPUT_MESSAGES: "the answers, as JSON; only with `capture_content` (spans only)",
    GEN_AI_OUTPUT_TOKENS: "tokens of the answer (spans only)",
    GEN_AI_OUTPUT_TYPE: "form of answer asked for: text, json, ... (spans only)",
    GEN_AI_PRESENCE_PENALTY: "presence penalty asked for (spans only)",
    GEN_AI_PROVIDER: "whose server it is; openai_compatible where its address says nothing",
    GEN_AI_REASONING_LEVEL: "reasoning effort asked for (spans only)",
    GEN_AI_REASONING_TOKENS: "tokens of the answer that went into reasoning (spans only)",
    GEN_AI_REQUEST_MODEL: "the model that was asked for",
    GEN_AI_RESPONSE_ID: "the provider's name for the answer (spans only)",
    GEN_AI_RESPONSE_MODEL: "the model that answered",
    GEN_AI_SEED: "seed asked for (spans only)",
    GEN_AI_STOP_SEQUENCES: "texts that end the answer (spans only)",
    GEN_AI_STREAM: "true where the answer was asked for as a stream (spans only)",
    GEN_AI_SYSTEM_INSTRUCTIONS: "instructions given beside the prompt, as JSON; only with `capture_content` (spans only)",
    GEN_AI_TEMPERATURE: "temperature asked for (spans only)",
    GEN_AI_TIME_TO_FIRST_CHUNK: "seconds from the request to the first chunk of a stream (spans only)",
    GEN_AI_TOKEN_MODALITY: "text, image, audio, or unknown where the provider does not say",
    GEN_AI_TOKEN_TYPE: "input or output",
    GEN_AI_TOP_P: "top_p asked for (spans only)",
    OPENAI_API: "which of OpenAI's interfaces was called (spans only)",
    OPENAI_FINGERPRINT: "fingerprint of the configuration that answered (spans only)",
    OPENAI_REQUEST_TIER: "service tier asked for (spans only)",
    OPENAI_RESPONSE_TIER: "service tier that answered (spans only)",
    ACTUAL: "the class that was right; other where there are too many, another other where a different one of these was predicted",
    BENCHMARK: "name of what `llmon bench` runs",
    BUILD: "name of the build that was measured",
    CHECK: "check of a value: missing, finite, type, range, set, pattern, unique, fresh, outliers, schema, ..., or the name of yours",
    CHUNKS: "chunks of a stream that arrived (spans only)",
    CIRCUIT: "name given to `Breaker()`",
    CLOCK: "which clock of the GPU: sm (what computes) or memory",
    COMPONENT: "component of Conveyance's context: L, I, A or G",
    KEEP: "true on a span whose trace tail sampling must keep (spans only)",
    AFTER: "phase that ran before, though it was declared to come later (span events only)",
    ATTEMPT: "which attempt this is, from 2 on; the span links to the attempt before (spans only); of a check, a span event says why",
    EPOCH: "number of the epoch (spans only)",
    FAILOVER_FROM: "the target that was wanted (span events only)",
    FAILOVER_TO: "the target that was taken instead (span events only)",
    INPUT_SHAPE: "sizes of what a model was given, one for each dimension; -1 where one is open (spans only)",
    INPUT_TYPE: "type of its elements: float32, int64, ... (spans only)",
    FEATURE: "column of a model's inputs or outputs, or a measure of one; several that are looked at as one with commas between; @prediction is what the model said; other is what is past the first ones",
    GPU_INDEX: "number of the GPU as `nvidia-smi` counts; of an instance, with a colon and its own number behind",
    ITEMS: "name given to `count()`; on a span, that name is the last part of the key: `llmon.items.documents`",
    KIND: "what the time of a training run went into: productive, evaluation, checkpoint, setup, other; of a violation of data quality: a check, or missing_column, added_column, renamed_column, constant, empty, unreadable, check_failed",
    LINK: "pcie or nvlink",
    MODEL: "the model that is trained or watched, as `training()` or `ModelMonitor()` was told; absent where it was not",
    MODEL_VERSION: "its version; absent where none was given",
    METHOD: "how it is measured: ks, psi, wasserstein, shift (of the mean, signed), location, scale, skew, kurtosis, jensen_shannon, chi_square, level, new_levels, mean_distance, correlation, performance (positive is worse); of a p-value also combined",
    REFERENCE: "hash of the reference that the rows are compared with",
    BIN: "number of the bin, from 00",
    BIN_NEXT: "number of the bin behind it; absent on the last one, which counts every row",
    DIRECTION: "up or down; of a predicted number, over or under the truth",
    ROWS: "rows that were looked at (spans and log records only)",
    MODEL_PARAMETERS: "parameters of the model (spans only)",
    MODEL_TYPE: "class of the model (spans only)",
    OUTPUT_SHAPE: "sizes of what a model gave, likewise (spans only)",
    OUTPUT_TYPE: "type of its elements (spans only)",
    PART: "part of the efficiency score: utilization, success or throughput; of drift: features, prediction, correlation, performance; input_drift is all of them, concept_drift all of them where labels are among them",
    DONE: "items that a loop has behind it (spans and log records only)",
    ETA: "seconds that a loop still needs (log records only)",
    RATE: "items per second of a loop (spans and log records only)",
    TOTAL: "items that a loop has in all (spans and log records only)",
    OPERATION: "name given to `progress()`; inside the `with` of another one behind that one's: `epochs/batches`",
    OUTCOME: "phases: success, failure or cancellation; health checks: success or failure; data quality: passed or failed; progress: completed, failed or skipped; spans of model calls: cancellation, where the client stopped",
    PREDICTED: "the class that was predicted; other where there are too many",
    PHASE: "name given to `phase()`",
    PIPELINE: "name of the `pipeline()` or `training()` around the work; absent outside one",
    PIPELINE_PHASES: "phases that `pipeline()` was told to expect (spans only)",
    QUALITY_EXAMPLES: "a value that failed, behind its feature and its check; only where values may leave (log records only)",
    QUALITY_HEALTHY: "whether nothing is violated (spans only)",
    QUALITY_RANGES: "where the numbers of each feature lie; only where values may leave (spans only)",
    QUALITY_RESULT: "score of data quality, from 0 to 1 (spans and log records only)",
    QUALITY_TYPES: "types of each feature's values, the most frequent one first (spans only)",
    QUALITY_VIOLATED: "features, each with what is wrong about it (spans and log records only)",
    QUALITY_WORST: "the check that lowers the score most (spans and log records only)",
    QUANTITY: "loss, accuracy, learning_rate or gradient_norm",
    REASON: "why a value was refused: type, not_finite, negative, attributes; which part of a prediction could not be taken: features, prediction, proba, truth, latency, id, metadata; what holds a GPU's clocks down: sw_power_cap, hw_slowdown, sync_boost, sw_thermal, hw_thermal, hw_power_brake; of the time also thermal, board_limit, reliability",
    RESOURCE: "cpu, gpu; of a cost also memory, energy, input_tokens or output_tokens",
    SIGNAL: "traces, metrics or logs",
    STEP: "of a check: resolve, connect, tls, wait (for the first byte), receive",
    TARGET: "name given to a health check",
    TARGET_TYPE: "http, tcp, ollama, openai, database, disk or function",
    SOURCE: "the observer, gauge or metric that failed; the event or logger of which there was too much; of CPU time"
    " observers, metrics, traces or logs",
    JOB_ID: "the job that the launcher started (resources only)",
    LOCAL_RANK: "number of this worker on its machine, from 0 (resources only)",
    RANK: "number of this worker in the job, from 0 (resources only)",
    WORKER_ID: "name of this worker; its rank where it has no other (resources only)",
    WORLD_SIZE: "how many workers the job has (resources only)",
    SPLIT: "part of the data: train, validation, test, or what `step(split=)` was told",
    ALLOCATION_COUNTS: "blocks that each of the lines holds (span events only)",
    ALLOCATION_LINES: "lines whose allocations in the phase are still held at its end, most bytes first (span events only)",
    ALLOCATION_SIZES: "bytes that each of the lines holds (span events only)",
    CPU_THREAD_TIME: "CPU seconds of the thread that the phase began and ended in (spans only)",
    CPU_TIME: "CPU seconds of the process while the phase ran, other threads' included (spans only)",
    CPU_UTILIZATION_MAX: "highest of the samples of `llmon.cpu.utilization.mean`; probe `samples` (spans only)",
    CPU_UTILIZATION_MEAN: "CPU seconds of the process over elapsed seconds; more than 1 where several threads work (spans only)",
    DISK_READ: "bytes that the process, other threads and children that ended included, had to fetch from a disk (spans only)",
    DISK_WRITE: "bytes that the process, likewise, gave to be written to a disk (spans only)",
    GPU_MEMORY_PEAK: "most bytes in use on the visible GPUs, by whomever, in the samples taken during the phase (spans only)",
    GPU_UTILIZATION_MEAN: "mean over samples and visible GPUs of the share of time in which something ran there (spans only)",
    MEMORY_DELTA: "bytes of physical memory that the process held at the end of the phase more than at its start (spans only)",
    MEMORY_MEAN: "mean of the samples of the process's physical memory; probe `samples` (spans only)",
    MEMORY_PEAK: "most bytes of physical memory that the process held while the phase ran, other threads' work included (spans only)",
    MEMORY_PEAK_EXACT: "false where the peak may have been higher between two readings; absent where it is exact (spans only)",
    PROFILE_FILE: "file with a profile of the work, as the program says by `set()` (spans only)",
    SWITCHES_INVOLUNTARY: "times that a thread of the process had to make way for another (spans only)",
    SWITCHES_VOLUNTARY: "times that a thread of the process waited for something (spans only)",
    STATE: "progress: running, paused, finished, stopped, failed or cancelled; circuits: closed, half_open or open; outcomes of predictions: joined, unknown (nothing of that id waits) or dropped (it waited too long); torch's memory: allocated or reserved; drift: the verdict on a feature, `mixed reference` where two watches of one model disagree, `not judged` before the first window is full",
    TORCH_DEVICE: "the GPU as torch counts: cuda:0, ...",
}
"""What each key says, for the printed docs."""
