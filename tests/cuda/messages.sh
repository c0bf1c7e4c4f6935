#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the tool says where no device can be had, on the emulation. usage: messages.sh ONNXTOOL EMULATION MODEL
set -u
tool=$1 emulation=$2 model=$3
wrong=0
expect() {  # TEXT COMMAND...: fails, and says TEXT
  text=$1
  shift
  said=$(env ONNXTOOL_CUDA_LIBRARY="$emulation" "$@" 2>&1) && { echo "passes: $*"; wrong=1; }
  case $said in
    *"$text"*) ;;
    *) echo "'$text' expected: $said"; wrong=1 ;;
  esac
}
run="$tool run $model --device"
# shellcheck disable=SC2086
{
  expect "no CUDA plug-in" env ONNXTOOL_CUDA_LIBRARY=/nowhere/plugin.so $run cuda
  expect "is not a plug-in of onnxtool" env ONNXTOOL_CUDA_LIBRARY=libc.so.6 $run cuda
  expect "no NVIDIA driver" env EMULATED_CUDA_NO_DRIVER=1 $run cuda
  expect "no CUDA device" env EMULATED_CUDA_DEVICES=0 $run cuda
  expect "no CUDA device 3: there is 1" $run cuda:3
  expect "no number of a CUDA device" $run cuda:x
  expect "needed on cuda:0, emulation" env EMULATED_CUDA_MEMORY=5000 $run cuda
  expect "no CUDA device" env EMULATED_CUDA_DEVICES=0 "$tool" optimize "$model" -o /dev/null --to text --verify --device cuda
  expect "tf32: for CUDA devices only" "$tool" run "$model" --precision tf32
  # auto: the CPU where there is no device.
  EMULATED_CUDA_DEVICES=0 ONNXTOOL_CUDA_LIBRARY="$emulation" $run auto >/dev/null || { echo "auto fails"; wrong=1; }
}
exit $wrong
