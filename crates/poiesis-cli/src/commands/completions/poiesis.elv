# Completes commands of poiesis in elvish. Made by `poiesis completions elvish`, whose help says where to put it.

use str

set edit:completion:arg-completer[poiesis] = {|@words|
    var lines = []
    try {
        set lines = [((external $words[0]) suggest -- (all $words[1..]) 2>/dev/null | from-lines)]
    } catch {
        nop
    }
    if (> (count $lines) 0) {
        for line $lines[1..] {
            var parts = [(str:split &max=2 "\t" $line)]
            var value = $parts[0]
            # A key of --set is followed by its value at once.
            var suffix = ' '
            if (str:has-suffix $value '=') { set suffix = '' }
            if (> (count $parts) 1) {
                edit:complex-candidate $value &code-suffix=$suffix &display=$value'  '$parts[1]
            } else {
                edit:complex-candidate $value &code-suffix=$suffix
            }
        }
        if (not-eq $lines[0] none) {
            edit:complete-filename $words[-1]
        }
    }
}
