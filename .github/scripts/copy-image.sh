#!/usr/bin/env bash
# copy-image.sh SOURCE:TAG TARGET: copies an image that this repository's workflow has built to another registry, unchanged, and
# prints <last part of TARGET>=TARGET@<digest>. An image without such an attestation is not copied.
set -euo pipefail

if [[ $# -ne 2 ]]; then
  echo "usage: copy-image.sh SOURCE:TAG TARGET" >&2
  exit 2
fi
source=$1 target=$2

digest=$(skopeo inspect --no-tags --format '{{.Digest}}' "docker://$source")
image="${source%:*}@$digest"
gh attestation verify "oci://$image" --repo "$GITHUB_REPOSITORY" \
  --signer-workflow "$GITHUB_REPOSITORY/.github/workflows/images.yml" >&2
# The tag is one of its own each time, as the other registry lets none be moved.
tag="${source##*:}-$GITHUB_RUN_ID-$GITHUB_RUN_ATTEMPT"
skopeo copy --all --preserve-digests "docker://$image" "docker://$target:$tag" >&2
echo "${target##*/}=$target@$digest"
