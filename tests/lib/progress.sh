# Progress for the person who waits, on standard error; sourced by tests/run and .ci/run.

# step WHAT COMMAND…: runs a command in silence and says how long it took; shows what it said only if it fails.
step() {
    local what=$1 since=$SECONDS output status=0
    shift
    printf '%-28s' "$what" >&2
    output=$("$@" 2>&1) || status=$?
    if ((status == 0)); then
        printf ' %4d s\n' $((SECONDS - since)) >&2
    else
        printf ' failed after %d s\n%s\n' $((SECONDS - since)) "$output" >&2
    fi
    return "$status"
}

# narrate: reads what cargo prints and tells the little that matters while it runs.
narrate() {
    local line suite='' crates=0 since=$SECONDS passed failed
    while IFS= read -r line; do
        case $line in
        '   Compiling '* | '    Checking '*)
            crates=$((crates + 1))
            ((crates % 50)) || printf '  %d crates, %d s\n' "$crates" $((SECONDS - since))
            ;;
        '     Running '*) suite=${line##*/deps/} suite=${suite%-*} ;;
        '   Doc-tests '*) suite="doc tests of ${line##* }" ;;
        'test '*' ... FAILED' | 'test '*' has been running for over '*)
            printf '  %s: %s\n' "$suite" "${line#test }"
            ;;
        'test result: '*)
            read -r _ _ _ passed _ failed _ <<<"$line"
            ((passed + failed == 0)) || printf '  %s: %s passed, %s failed, %s\n' "$suite" "$passed" "$failed" "${line##* }"
            ;;
        esac
    done >&2
}
