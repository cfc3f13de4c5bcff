# What every script here needs before it can work: the right Bun, the packages of the lockfile, Deno for the tests.
# Sourced, never run; the sourcing script sets SCRIPT to its own name for messages.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TOOLS="$ROOT/.tools"
cd "$ROOT"

# Ends the script with one line that says what is wrong.
fail() {
  printf '%s: %s\n' "$SCRIPT" "$1" >&2
  exit 1
}

note() {
  printf '%s: %s\n' "$SCRIPT" "$1" >&2
}

# install_tool NAME PACKAGE VERSION: puts an npm package into .tools without running its install scripts, so
# that the outcome is the same whatever npm is set to allow.
install_tool() {
  local label=$1 package=$2 version=$3 log code
  command -v npm >/dev/null 2>&1 ||
    fail "$label $version is not here and npm is not either: install Node.js 20 or newer with npm, or $label $version itself"
  note "getting $label $version"
  mkdir -p "$TOOLS"
  log=$TOOLS/npm-$package.log
  if ! npm install --prefix "$TOOLS" --ignore-scripts --include=optional --no-audit --no-fund --loglevel=error \
    --fetch-retries=1 --fetch-retry-mintimeout=1000 "$package@$version" >"$log" 2>&1 </dev/null; then
    code=$(sed -n 's/^npm \(error\|ERR!\) code //p' "$log" | head -n 1)
    fail "npm could not get $label $version (${code:-see $log}): is there a network?"
  fi
}

# link_working NAME VERSION CANDIDATE…: links .tools/bin/NAME to the first candidate that runs and is of the version.
link_working() {
  local name=$1 version=$2 candidate
  shift 2
  for candidate in "$@"; do
    if [ -x "$candidate" ] && [ "$(version_of "$candidate")" = "$version" ]; then
      mkdir -p "$TOOLS/bin"
      ln -sf "$candidate" "$TOOLS/bin/$name"
      return 0
    fi
  done
  return 1
}

# The bare version that a bun or deno prints ("1.4.5", "deno 2.9.6 (…)"); nothing when it does not run here.
version_of() {
  "$1" --version 2>/dev/null </dev/null | sed -n '1s/^\(deno \)\{0,1\}\([0-9][^ ]*\).*$/\2/p' || true
}

# need_tool LABEL NAME VERSION PATTERN: makes NAME of exactly VERSION the first on PATH, getting it when it is missing.
need_tool() {
  local label=$1 name=$2 version=$3 binaries=$4
  PATH="$TOOLS/bin:$PATH"
  export PATH
  [ "$(version_of "$name")" = "$version" ] && return 0
  # A stale link to another version would hide a right one further down the path.
  rm -f "$TOOLS/bin/$name"
  hash -r
  [ "$(version_of "$name")" = "$version" ] && return 0
  # npm picks the package with this platform's binary, so its path is a pattern. What is there already may do:
  # the folder may have been moved, and the link with it.
  link_working "$name" "$version" "$TOOLS"/node_modules/$binaries || {
    install_tool "$label" "$name" "$version"
    link_working "$name" "$version" "$TOOLS"/node_modules/$binaries
  } || fail "$label $version has no build that runs on this machine ($(uname -sm))"
  hash -r
}

need_bun() {
  need_tool Bun bun "$(cat "$ROOT/.bun-version")" '@oven/bun-*/bin/bun'
}

need_deno() {
  need_tool Deno deno "$(cat "$ROOT/.deno-version")" '@deno/*/deno'
}

# Installs what bun.lock says, only when that has changed since the last time.
need_packages() {
  local stamp=$ROOT/node_modules/.installed-from
  if [ -f "$stamp" ] && cat "$ROOT/package.json" "$ROOT/bun.lock" | cmp -s - "$stamp"; then
    return 0
  fi
  note "installing packages"
  local log
  mkdir -p "$TOOLS"
  log=$TOOLS/bun-install.log
  if ! bun install --frozen-lockfile >"$log" 2>&1 </dev/null; then
    fail "packages could not be installed ($(grep -m 1 -i 'error' "$log" || echo "see $log")): is there a network?"
  fi
  cat "$ROOT/package.json" "$ROOT/bun.lock" >"$stamp"
}
