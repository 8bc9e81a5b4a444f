#!/bin/sh
# Builds the site into dist/ with nothing but a POSIX shell: copies the page, stamps into it what is being built, and
# checks that no link leads nowhere. The short pauses are there for you: they let you watch the log arrive.
set -eu
cd "$(dirname "$0")"

out=dist
steps=5
step=0

# A line such as `[##---] Copy the files`.
say() {
  step=$((step + 1))
  printf '[%.*s%.*s] %s\n' "$step" '#####' "$((steps - step))" '-----' "$*"
  sleep 0.15 2>/dev/null || sleep 1
}

# Text, made safe for HTML, and then for the right-hand side of the `s|…|…|` below.
html() { sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g; s/"/\&quot;/g'; }
literal() { sed 's/[\\&|]/\\&/g'; }

say "Look at the repository"
# Outside of a repository, say so instead of failing: the page is worth having without a commit.
commit=$(git rev-parse --short=8 HEAD 2>/dev/null || echo "no commit")
subject=$(git log -1 --format=%s 2>/dev/null || echo "built outside of a git repository")
built_at=$(date -u '+%Y-%m-%dT%H:%M:%SZ')
built_on=$(date -u '+%d %B %Y, %H:%M:%S UTC')
echo "        commit $commit: $subject"

say "Copy the files"
rm -rf "$out"
mkdir "$out"
cp style.css "$out/style.css"
cp build.sh "$out/build.txt"

say "Stamp the page"
sed -e "s|{{commit}}|$(printf %s "$commit" | html | literal)|g" \
  -e "s|{{subject}}|$(printf %s "$subject" | html | literal)|g" \
  -e "s|{{built_at}}|$built_at|g" \
  -e "s|{{built_on}}|$built_on|g" index.html >"$out/index.html"
printf '{ "commit": "%s", "builtAt": "%s" }\n' "$commit" "$built_at" >"$out/build-info.json"

say "Check the links"
links=$(grep -o 'href="\./[^"]*"' "$out/index.html" | sed 's/^href="\.\///; s/"$//')
for link in $links; do
  if [ ! -f "$out/$link" ]; then
    echo "error: index.html links to $link, which does not exist" >&2
    exit 1
  fi
  echo "        ok  $link"
done

say "Done"
for file in "$out"/*; do
  printf '        %6d bytes  %s\n' "$(wc -c <"$file")" "$file"
done
