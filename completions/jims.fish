complete --keep-order --exclusive --command jims --arguments "(JIMS_COMPLETE=fish jims -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token))"
