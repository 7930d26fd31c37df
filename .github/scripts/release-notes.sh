#!/usr/bin/env bash
# release-notes.sh TAG: checks that TAG is v and the version in pyproject.toml, and prints the section of that version in CHANGELOG.md,
# without headings that have nothing below them, and with links to the files of the tag where GITHUB_REPOSITORY is set. Exit code 1 if
# the tag is another or there is no such section.
set -euo pipefail

if [[ $# -ne 1 ]]; then
  echo "usage: release-notes.sh TAG" >&2
  exit 2
fi
tag=$1

version=$(sed -n '/^\[project\]/,/^$/s/^version = "\(.*\)".*/\1/p' pyproject.toml)
if [[ $tag != "v$version" ]]; then
  echo "::error::The tag is $tag, but pyproject.toml has version $version: tag v$version, or change the version." >&2
  exit 1
fi
if ! grep -qE "^## \[${version//./\\.}\] - [0-9]{4}-[0-9]{2}-[0-9]{2}$" CHANGELOG.md; then
  echo "::error::CHANGELOG.md has no section '## [$version] - <date>': write one." >&2
  exit 1
fi
notes=$(awk -v start="## [$version] - " '
  index($0, "## ") == 1 { inside = index($0, start) == 1; next }
  !inside { next }
  /^### / { heading = $0; next }
  /[^ ]/ && heading != "" { print ""; print heading; print ""; heading = "" }
  # Of empty lines, those between what is printed.
  /[^ ]/ { if (blank && printed) print ""; print; printed = 1; blank = 0; next }
  { blank = heading == "" }
' CHANGELOG.md)
if [[ -z $notes ]]; then
  echo "::error::The section of $version in CHANGELOG.md is empty." >&2
  exit 1
fi
# A release has no folder against which a relative link could be read.
files=${GITHUB_REPOSITORY:+${GITHUB_SERVER_URL:-https://github.com}/$GITHUB_REPOSITORY/blob/$tag/}
sed -E "s#\]\(([^):]+)\)#](${files//&/\\&}\1)#g" <<< "$notes"
