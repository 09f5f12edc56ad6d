# Completes commands of poiesis in PowerShell, from 5 on. Made by `poiesis completions powershell`, whose help says where to put it.

Register-ArgumentCompleter -Native -CommandName poiesis -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $elements = @($commandAst.CommandElements)
    $program = $elements[0].Extent.Text.Trim('"', "'")
    $words = @()
    foreach ($element in ($elements | Select-Object -Skip 1)) {
        if ($element.Extent.StartOffset -lt $cursorPosition) {
            $words += $element.Extent.Text.Trim('"', "'")
        }
    }
    # Earlier versions do not pass empty words on, so that one is named by a flag.
    $new = @()
    if ($wordToComplete -eq '') { $new = @('--new-word') }
    $lines = @(& $program suggest @new -- @words 2>$null)
    if ($lines.Count -eq 0) { return }

    foreach ($line in ($lines | Select-Object -Skip 1)) {
        $value, $about = $line -split "`t", 2
        if (-not $about) { $about = $value }
        $text = $value
        if ($text -match "[\s'`"``(){};&|<>@#]") { $text = "'" + $text.Replace("'", "''") + "'" }
        [System.Management.Automation.CompletionResult]::new($text, $value, 'ParameterValue', $about)
    }
    if ($lines[0] -ne 'none') {
        foreach ($path in [System.Management.Automation.CompletionCompleters]::CompleteFilename($wordToComplete)) {
            if ($lines[0] -eq 'files' -or $path.ResultType -eq 'ProviderContainer') { $path }
        }
    }
}
