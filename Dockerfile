# The controller in an image: the static programme and nothing else.
#
#   make release-binary
#   docker build --file Dockerfile --tag calico-dcos target/static
#
# `make release` makes an image with the same content without Docker, for `docker load`. There is no
# shell and no CA in it: mount the files that options name, and give --mesos-ca for https.
FROM scratch
COPY calico-dcos /calico-dcos
USER 65534:65534
ENTRYPOINT ["/calico-dcos"]
