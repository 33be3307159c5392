# shellcheck shell=bash
# The images of the lab, made of Debian's packages and of nothing else: no registry is asked.

readonly packages=systemd,systemd-sysv,dbus,docker.io,iptables,etcd-server,procps,iproute2,ca-certificates,curl,kmod

# A tree of Debian, kept between runs.
make_tree() {
  [[ ! -e $lab/rootfs ]] || return 0
  say "makes a tree of Debian's packages, 650 MB below $lab/rootfs (about 2 minutes, once) …"
  rm -rf "$lab/rootfs.new"
  debootstrap --variant=minbase --include="$packages" bookworm "$lab/rootfs.new" \
    >"$lab/log/debootstrap.log" 2>&1 ||
    die "debootstrap failed." "$(tail -n 3 "$lab/log/debootstrap.log")" "Is deb.debian.org reachable?"
  rm -rf "$lab"/rootfs.new/var/cache/apt/archives/*.deb
  mv "$lab/rootfs.new" "$lab/rootfs"
}

# The image of a host: the tree, and on it what a DC/OS agent has. Its name says what is in it.
host_image() {
  local digest tree
  digest=$(tar -C tools/lab/host --sort=name --mtime=@0 --owner=0 --group=0 -c . |
    cat - <(echo "$packages" && sed 1,2d tools/lab/image.sh) | sha256sum | cut -c 1-12)
  host_image=$label/host:$digest
  ! docker image inspect "$host_image" >/dev/null 2>&1 || return 0
  make_tree
  say "makes the image of a host (about 20 s) …"
  tree=$lab/tree
  rm -rf "$tree"
  # Links in place of copies, so what is different is put in the place of a link.
  cp -al "$lab/rootfs" "$tree"
  cp -rd --remove-destination tools/lab/host/. "$tree"
  mkdir -p "$tree"/{etc/docker,var/lib/dcos,var/lib/mesos,var/log/journal,lab} \
    "$tree"/opt/mesosphere/{active/cni,lib,etc/mesos-slave-modules,etc/dcos/network/cni}
  ln -s ../lab-images.service "$tree/etc/systemd/system/multi-user.target.wants/"
  # Debian starts an etcd where its package is installed; here the port is for the proxy.
  ln -sf /dev/null "$tree/etc/systemd/system/etcd.service"
  rm "$tree/etc/machine-id" && : >"$tree/etc/machine-id"
  mv "$tree/usr/sbin/runc" "$tree/usr/sbin/runc.real"
  mv "$tree/usr/lib/lab/runc" "$tree/usr/sbin/runc"
  tar -C "$tree" --exclude=./dev -c . | docker import --change "LABEL $label=image" - "$host_image" \
    >>"$lab/log/image.log" 2>&1 || die "the image of a host cannot be made; see $lab/log/image.log."
  rm -rf "$tree"
  # Those of earlier versions of this folder; hosts that still have one keep it.
  docker images --filter "label=$label=image" --format '{{.Repository}}:{{.Tag}}' | grep -vxF "$host_image" |
    xargs --no-run-if-empty docker rmi >/dev/null 2>&1 || true
}

# Stand-ins for Calico's images, as an archive for `docker load`, written without a Docker so that
# these names never come to the machine's own. One program in all of them, static.
stand_ins() {
  local images=(calico/node:v2.6.12 calico/node:v2.6.13 calico/node-libnetwork:v1.1.2) image work
  [[ ! $lab/share/images.tar -nt tools/lab/stand-in.rs || tools/lab/image.sh -nt $lab/share/images.tar ]] || return 0
  say "makes stand-ins for ${images[*]}"
  work=$(mktemp -d "$lab/stand-in.XXXXXX")
  mkdir -p "$work/layer/bin" "$work/layer"/{tmp,run,etc,var/log/calico} "$work/archive"
  rustc --edition 2024 -O -C target-feature=+crt-static -C strip=symbols \
    -o "$work/layer/bin/calico-node" tools/lab/stand-in.rs
  ln -s calico-node "$work/layer/bin/libnetwork-plugin"
  local manifest=
  for image in "${images[@]}"; do
    one_image "$image"
  done
  echo "[${manifest#,}]" >"$work/archive/manifest.json"
  tar -C "$work/archive" -cf "$lab/share/images.tar.new" .
  mv "$lab/share/images.tar.new" "$lab/share/images.tar"
  rm -rf "$work"
}

# Adds one image to $work/archive and to $manifest; its layer differs by a file with its name.
one_image() {
  local name=${1//[^a-z0-9.]/-} entry=calico-node digest
  [[ $1 != *libnetwork* ]] || entry=libnetwork-plugin
  echo "$1" >"$work/layer/etc/image"
  mkdir -p "$work/archive/$name"
  tar -C "$work/layer" --sort=name --owner=0 --group=0 --mtime=@0 -cf "$work/archive/$name/layer.tar" .
  digest=$(sha256sum "$work/archive/$name/layer.tar" | cut -d ' ' -f 1)
  cat >"$work/archive/$name.json" <<JSON
{"architecture":"amd64","os":"linux","created":"2026-01-01T00:00:00Z",
 "config":{"Entrypoint":["/bin/$entry"],"Env":["PATH=/bin"],"StopSignal":"SIGKILL","Labels":{"$label":"stand-in"}},
 "rootfs":{"type":"layers","diff_ids":["sha256:$digest"]}}
JSON
  manifest+=",{\"Config\":\"$name.json\",\"RepoTags\":[\"$1\"],\"Layers\":[\"$name/layer.tar\"]}"
}
