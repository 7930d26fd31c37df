#!/usr/bin/env bash
# wait-for-execution.sh ARN SECONDS: waits for an execution of Step Functions and says how it ended. Exit code 1 if it failed. One
# that takes longer is left alone, with a warning: whoever is subscribed to the topic hears how it ends.
set -euo pipefail

if [[ $# -ne 2 ]]; then
  echo "usage: wait-for-execution.sh ARN SECONDS" >&2
  exit 2
fi
execution=$1 until=$((SECONDS + $2))

while true; do
  status=$(aws stepfunctions describe-execution --execution-arn "$execution" --query status --output text)
  [[ $status == RUNNING ]] || break
  if ((SECONDS >= until)); then
    echo "::warning::The training goes on; the topic tells how it ends." >&2
    echo "Training: goes on after $2 seconds ($execution)"
    exit 0
  fi
  sleep "${POLL_SECONDS:-15}"
done

if [[ $status == SUCCEEDED ]]; then
  echo "Training: ended well ($execution)"
  exit 0
fi
cause=$(aws stepfunctions describe-execution --execution-arn "$execution" --query cause --output text)
echo "::error::The training $status: $cause. The champion is the one before." >&2
echo "Training: $status, $cause ($execution)"
exit 1
