#!/bin/sh
# The linker of a Worker's Wasm: rust-lld, which rustc puts on PATH, without some of the exports.
#
# An exported function stays, with all that it calls. `worker` exports the methods of classes for what
# a gateway has no use for: streams made in Rust, containers, R2, minifying. Rust itself has no way to
# leave out an export of a dependency's; it was 5 % of the upload.
is_name=
for argument; do
    shift
    case $is_name$argument in
    --export)
        is_name=yes:
        continue
        ;;
    yes:*containerstartupoptions* | yes:*intounderlying* | yes:*minifyconfig* | yes:*r2range*) ;;
    yes:*) set -- "$@" --export "$argument" ;;
    *) set -- "$@" "$argument" ;;
    esac
    is_name=
done
exec rust-lld "$@"
