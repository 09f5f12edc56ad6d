# Completes commands of poiesis in fish. Made by `poiesis completions fish`, whose help says where to put it.

function __poiesis_suggest
    set -l words (commandline -opc)
    set -l token (commandline -ct)
    set -l program (string replace -r '^~/' "$HOME/" -- $words[1])
    set -e words[1]
    set -l lines ($program suggest -- $words (string unescape -- $token; or echo $token) 2>/dev/null)
    set -l kind none
    if set -q lines[1]
        set kind $lines[1]
        set -e lines[1]
    end
    set -q lines[1]; and printf '%s\n' $lines
    # Of --data=FILE, the file is completed.
    set -l before (string match -r -- '^--[^=]*=' $token; or echo '')
    set -l path (string replace -r -- '^--[^=]*=' '' $token)
    switch $kind
        case files
            for found in (__fish_complete_path $path)
                printf '%s\n' $before$found
            end
        case folders
            for found in (__fish_complete_directories $path '')
                printf '%s\n' $before$found
            end
    end
end

complete -c poiesis -f -k -a '(__poiesis_suggest)'
