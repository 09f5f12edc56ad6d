# Completes commands of poiesis in bash, from 3.2 on. Made by `poiesis completions bash`, whose help says where to put it.

_poiesis() {
    local program=$1 cut= kind=none word tab=$'\t' i
    local -a words
    COMPREPLY=()
    # Readline cuts words at = and :, and replaces only what comes after the cut.
    words=("${COMP_WORDS[1]}")
    for ((i = 2; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ -n $word && -z ${word//[=:]/} ]] || [[ -n ${COMP_WORDS[i - 1]} && -z ${COMP_WORDS[i - 1]//[=:]/} ]]; then
            [[ -z ${word//[=:]/} ]] && cut=${words[${#words[@]} - 1]}$word || cut=${words[${#words[@]} - 1]}
            words[${#words[@]} - 1]+=$word
        else
            words+=("$word")
            cut=
        fi
    done
    [[ $program == '~/'* ]] && program=$HOME/${program:2}
    {
        read -r kind
        while IFS= read -r word; do
            word=${word%%"$tab"*}
            COMPREPLY+=("${word#"$cut"}")
        done
    } < <("$program" suggest -- "${words[@]}" 2>/dev/null)
    type compopt &>/dev/null || return 0
    # Runs are paths; a key of --set is followed by its value at once.
    [[ ${COMPREPLY[0]} == */* ]] && compopt -o filenames 2>/dev/null
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
    case $kind in
        folders) compopt +o default +o bashdefault -o plusdirs 2>/dev/null ;;
        none) compopt +o default +o bashdefault 2>/dev/null ;;
        files)
            # Without a word that fits, readline completes files itself.
            if ((${#COMPREPLY[@]} > 0)); then
                while IFS= read -r word; do
                    COMPREPLY+=("$word")
                done < <(compgen -f -- "$2")
                compopt -o filenames 2>/dev/null
            fi
            ;;
    esac
    return 0
}

if [[ ${BASH_VERSINFO[0]} -gt 4 || ${BASH_VERSINFO[0]} -eq 4 && ${BASH_VERSINFO[1]} -ge 4 ]]; then
    complete -o nosort -o bashdefault -o default -F _poiesis poiesis
else
    complete -o bashdefault -o default -F _poiesis poiesis
fi
