#!/bin/sh
# Builds first_ARCH.elf from first.c: build.sh amd64|arm64 [DIRECTORY]
set -eu
here=$(dirname "$0")
case $1 in
amd64) cc=x86_64-linux-gnu-gcc ;;
arm64) cc=aarch64-linux-gnu-gcc ;;
*) echo "$0: no such architecture: $1" >&2; exit 2 ;;
esac
$cc -Os -Wall -Werror -nostdlib -nostartfiles -static -ffreestanding -fno-pic -no-pie \
	-fno-stack-protector -fno-asynchronous-unwind-tables -fno-ident -fomit-frame-pointer \
	-Wl,-n,-z,noexecstack,-z,norelro,--build-id=none,-s \
	-o "${2:-$here}/first_$1.elf" "$here/first.c"
