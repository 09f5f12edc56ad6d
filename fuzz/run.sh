#!/usr/bin/env bash
# Runs every fuzz target for a number of seconds, one after another, and says what was found.
#   fuzz/run.sh SECONDS [TARGET …]
# Needs a nightly compiler and cargo-fuzz: rustup toolchain install nightly; cargo install cargo-fuzz
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:?give the seconds for each target}
shift
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    for file in targets/*.rs; do targets+=("$(basename "$file" .rs)"); done
fi
cargo +nightly run --quiet --bin corpora
failed=()
for target in "${targets[@]}"; do
    echo "== $target"
    # 2 GiB of memory and 10 seconds for one input are findings, too.
    cargo +nightly fuzz run "$target" --fuzz-dir . -- \
        -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -max_len=65536 -print_final_stats=1 || failed+=("$target")
done
echo "${#targets[@]} targets, ${#failed[@]} with findings: ${failed[*]:-none}; inputs are in fuzz/artifacts"
[ ${#failed[@]} -eq 0 ]
