set edit:completion:arg-completer[jims] = { |@words|
    var index = (count $words)
    set index = (- $index 1)

    put (env _CLAP_IFS="\n" _CLAP_COMPLETE_INDEX=(to-string $index) JIMS_COMPLETE="elvish" jims -- $@words) | to-lines
}
