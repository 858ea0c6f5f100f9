#!/usr/bin/env bash
# Draws the icons of the installed page from public/icon.svg. Needs rsvg-convert (librsvg2-bin).
# The results are committed: run it only after a change of icon.svg.
set -euo pipefail

public=$(cd "$(dirname "$0")/../public" && pwd)
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

# Without the round corners, and with a margin of a fifth: systems cut icons into their own shape.
sed -e 's/viewBox="0 0 32 32"/viewBox="-4 -4 40 40"/' -e 's/<rect [^>]*>/<rect x="-4" y="-4" width="40" height="40" fill="#0b6e5f"\/>/' \
    "$public/icon.svg" >"$work/full.svg"

rsvg-convert -w 192 -h 192 "$public/icon.svg" -o "$public/icon-192.png"
rsvg-convert -w 512 -h 512 "$public/icon.svg" -o "$public/icon-512.png"
rsvg-convert -w 512 -h 512 "$work/full.svg" -o "$public/icon-maskable.png"
rsvg-convert -w 180 -h 180 "$work/full.svg" -o "$public/apple-touch-icon.png"
