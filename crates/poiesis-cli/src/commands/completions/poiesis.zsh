#compdef poiesis
# Completes commands of poiesis in zsh. Made by `poiesis completions zsh`, whose help says where to put it.

_poiesis() {
    local program=${words[1]} kind line value about
    local -a lines plain unfinished
    local ret=1
    [[ $program == '~/'* ]] && program=$HOME/${program#'~/'}
    lines=("${(@f)$("${(Q)program}" suggest -- "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    kind=${lines[1]:-none}
    for line in "${(@)lines[2,-1]}"; do
        value=${line%%$'\t'*}
        about=
        [[ $line == *$'\t'* ]] && about=:${line#*$'\t'}
        value=${value//\\/\\\\}
        value=${value//:/\\:}
        # A key of --set is followed by its value at once.
        if [[ $value == *= ]]; then
            unfinished+=("$value$about")
        else
            plain+=("$value$about")
        fi
    done
    if (( $#plain )); then
        _describe -V 'poiesis' plain && ret=0
    fi
    if (( $#unfinished )); then
        _describe -V 'poiesis' unfinished -S '' && ret=0
    fi
    if [[ $kind != none ]]; then
        # Of --data=FILE, the file is completed.
        [[ $PREFIX == --*=* ]] && compset -P '*='
        if [[ $kind == folders ]]; then
            _files -/ && ret=0
        else
            _files && ret=0
        fi
    fi
    return ret
}

# Read by a shell, it registers itself; found by compinit, it is the function.
if [[ ${funcstack[1]} == _poiesis ]]; then
    _poiesis "$@"
elif (( $+functions[compdef] )); then
    compdef _poiesis poiesis
fi
