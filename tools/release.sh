#!/usr/bin/env bash
# Makes a release below target/dist: the static programme, an image for `docker load`, the DC/OS
# package, an SBOM and their digests. The same commit, toolchain and C compiler give the same bytes.
#
#   tools/release.sh                    all of it, the programme too
#   tools/release.sh pack FILE FOLDER   all of it around a programme that is there already
#   tools/release.sh check              twice, in two folders, and compares (20 minutes)
#
# DOWNLOAD_URL is where the programme will lie; hosts fetch it from there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=$(sed -nE '1,/^$/s/^version = "(.*)"/\1/p' Cargo.toml)
readonly version
readonly name=calico-dcos-$version
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
readonly download=${DOWNLOAD_URL:-https://downloads.example.com/calico-dcos/$version/calico-dcos}

# A tar of folder $1 at $2 in which nothing depends on who made it, where and when.
archive() {
  tar --create --file "$2" --directory "$1" --format ustar --sort name --mtime "@$SOURCE_DATE_EPOCH" \
    --owner 0 --group 0 --numeric-owner --mode 'u=rwX,go=rX' -- $(cd "$1" && ls)
}

digest() { sha256sum <"$1" | cut -d ' ' -f 1; }

# The image as `docker save` writes it, around the programme $1, at $2.
image() {
  local tree=$scratch/image root=$scratch/root created layer
  mkdir -p "$tree" "$root"
  install -m 755 "$1" "$root/calico-dcos"
  archive "$root" "$tree/layer.tar"
  layer=$(digest "$tree/layer.tar")
  created=$(date --utc --date "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
  cat >"$tree/config.json" <<JSON
{"architecture":"amd64","os":"linux","created":"$created","config":{"Entrypoint":["/calico-dcos"],"User":"65534:65534"},"rootfs":{"type":"layers","diff_ids":["sha256:$layer"]},"history":[{"created":"$created","created_by":"tools/release.sh"}]}
JSON
  cat >"$tree/manifest.json" <<JSON
[{"Config":"config.json","RepoTags":["calico-dcos:$version"],"Layers":["layer.tar"]}]
JSON
  archive "$tree" "$2"
}

# The DC/OS package in the layout of a Universe repository, at $1.
package() {
  local place=$scratch/universe/repo/packages/C/calico-dcos/0
  mkdir -p "$place"
  cp charts/calico-dcos/* "$place"
  sed -i "s|\"calico-dcos\": \"[^\"]*\"|\"calico-dcos\": \"$download\"|" "$place/resource.json"
  archive "$scratch/universe" "$scratch/universe.tar"
  gzip --no-name --best <"$scratch/universe.tar" >"$1"
}

pack() {
  local program=$1 folder=$2
  [[ $download == */calico-dcos ]] || { echo "error: DOWNLOAD_URL ends in /calico-dcos, not $download" >&2; exit 2; }
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  rm -rf "$folder"
  mkdir -p "$folder"
  install -m 755 "$program" "$folder/calico-dcos"
  image "$program" "$folder/$name-image.tar"
  package "$folder/$name-universe.tar.gz"
  tools/sbom.sh >"$folder/$name.cdx.json"
  (cd "$folder" && sha256sum -- * >"$scratch/SHA256SUMS" && install -m 644 "$scratch/SHA256SUMS" .)
}

# A second copy of the commit elsewhere, so that a path that gets into the programme is found out.
check() {
  local copy=$PWD/target/release-check
  rm -rf "$copy"
  mkdir -p "$copy/target"
  git archive HEAD | tar --extract --directory "$copy"
  cp -a target/tools "$copy/target/tools"
  tools/release.sh
  (cd "$copy" && tools/release.sh)
  diff target/dist/SHA256SUMS "$copy/target/dist/SHA256SUMS"
  rm -rf "$copy"
  echo "Twice the same bytes:"
  cat target/dist/SHA256SUMS
}

case ${1:-all} in
all)
  tools/static.sh
  pack target/static/calico-dcos target/dist
  ls -l target/dist
  [[ -n ${DOWNLOAD_URL:-} ]] || echo "The package names $download; give DOWNLOAD_URL to have it name yours."
  ;;
pack) pack "$2" "$3" ;;
check) check ;;
*)
  echo "release.sh: nothing, pack or check, not '$1'" >&2
  exit 2
  ;;
esac
