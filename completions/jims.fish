# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_jims_global_optspecs
    string join \n config= color= v/verbose h/help V/version
end

function __fish_jims_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_jims_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_jims_using_subcommand
    set -l cmd (__fish_jims_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c jims -n "__fish_jims_needs_command" -l config -d 'Configuration file [default: /etc/jims/config.toml]' -r -F
complete -c jims -n "__fish_jims_needs_command" -l color -d 'When to use colour; nothing is said by colour alone' -r -f -a "auto\t'If the output is a terminal and `NO_COLOR` is not set'
always\t'Always'
never\t'Never'"
complete -c jims -n "__fish_jims_needs_command" -s v -l verbose -d 'Log more: -v for debug (user names and addresses appear), -vv for everything'
complete -c jims -n "__fish_jims_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jims -n "__fish_jims_needs_command" -s V -l version -d 'Print version'
complete -c jims -n "__fish_jims_needs_command" -f -a "run" -d 'Run the service in the foreground'
complete -c jims -n "__fish_jims_needs_command" -f -a "onboard" -d 'Let this Collector push to a Server; on the Server: invite, list, disable and remove Collectors'
complete -c jims -n "__fish_jims_needs_command" -f -a "status" -d 'Show what needs attention, then totals, directories, producers, firewalls and strangers'
complete -c jims -n "__fish_jims_needs_command" -f -a "probe" -d 'Try configured sources, or ask computers who is signed on, step by step'
complete -c jims -n "__fish_jims_needs_command" -f -a "query-user" -d 'Show who is at an address, where a user is, and which evidence says so'
complete -c jims -n "__fish_jims_needs_command" -f -a "log-off" -d 'End the sessions of a user, at an address, or at a device'
complete -c jims -n "__fish_jims_needs_command" -f -a "refresh" -d 'Tell a firewall that is pushed to (`web_api`) everything again, now'
complete -c jims -n "__fish_jims_needs_command" -f -a "syslog-test" -d 'Show which rule matches a syslog line and what it captures, or why none does'
complete -c jims -n "__fish_jims_needs_command" -f -a "completions" -d 'Print completions for a shell'
complete -c jims -n "__fish_jims_needs_command" -f -a "man" -d 'Print the manual page, or write the pages of all commands'
complete -c jims -n "__fish_jims_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c jims -n "__fish_jims_using_subcommand run" -l config -d 'Configuration file [default: /etc/jims/config.toml]' -r -F
complete -c jims -n "__fish_jims_using_subcommand run" -l color -d 'When to use colour; nothing is said by colour alone' -r -f -a "auto\t'If the output is a terminal and `NO_COLOR` is not set'
always\t'Always'
never\t'Never'"
complete -c jims -n "__fish_jims_using_subcommand run" -l check -d 'Check the configuration and the files it names, print every problem, start nothing'
complete -c jims -n "__fish_jims_using_subcommand run" -l connect -d 'With --check: connect to each event source and directory once, step by step'
complete -c jims -n "__fish_jims_using_subcommand run" -l demo -d 'Run a self-contained site, whatever is configured: a directory from a file, simulated senders and firewall'
complete -c jims -n "__fish_jims_using_subcommand run" -l dashboard -d 'Show the dashboard of `jims status --watch` in place of the log, which then goes to jims.log in the state folder'
complete -c jims -n "__fish_jims_using_subcommand run" -l no-dashboard -d 'With --demo: print a summary in place of the dashboard'
complete -c jims -n "__fish_jims_using_subcommand run" -s v -l verbose -d 'Log more: -v for debug (user names and addresses appear), -vv for everything'
complete -c jims -n "__fish_jims_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jims -n "__fish_jims_using_subcommand run" -s V -l version -d 'Print version'
complete -c jims -n "__fish_jims_using_subcommand onboard" -l code -d 'The code of the invitation; other users of this machine can see it, so prefer --code-stdin' -r
complete -c jims -n "__fish_jims_using_subcommand onboard" -l name -d 'What this Collector calls the Server [default: its host, with the port if it is not 443]' -r
complete -c jims -n "__fish_jims_using_subcommand onboard" -l description -d 'What this Collector is, for people [default: collector.description]' -r
complete -c jims -n "__fish_jims_using_subcommand onboard" -l ca-file -d 'Certificates to trust beside the code\'s own check: a file in PEM form' -r -F
complete -c jims -n "__fish_jims_using_subcommand onboard" -l invite -d 'Invite a Collector and call it NAME: prints a code, once' -r
complete -c jims -n "__fish_jims_using_subcommand onboard" -l expires -d 'How long the code can be used, 1m to 30d [default: 1h]' -r
complete -c jims -n "__fish_jims_using_subcommand onboard" -l networks -d 'Addresses it may speak for, such as 10.2.0.0/16,2001:db8:2::/48 [default: all]' -r
complete -c jims -n "__fish_jims_using_subcommand onboard" -l domains -d 'Domains it may speak for, such as corp.example.com [default: all]' -r
complete -c jims -n "__fish_jims_using_subcommand onboard" -l roles -d 'Groups that its sources may assert, such as \'VPN-*\' [default: none, the directory knows them]' -r
complete -c jims -n "__fish_jims_using_subcommand onboard" -l revoke -d 'Take back an invitation that nobody used' -r
complete -c jims -n "__fish_jims_using_subcommand onboard" -l remove -d 'Forget a Collector; what it brought leaves' -r
complete -c jims -n "__fish_jims_using_subcommand onboard" -l disable -d 'Hear a Collector no more until it is enabled' -r
complete -c jims -n "__fish_jims_using_subcommand onboard" -l enable -d 'Hear a Collector again' -r
complete -c jims -n "__fish_jims_using_subcommand onboard" -l describe -d 'Say what a Collector is, for people; \'\' for what it says itself' -r
complete -c jims -n "__fish_jims_using_subcommand onboard" -l config -d 'Configuration file [default: /etc/jims/config.toml]' -r -F
complete -c jims -n "__fish_jims_using_subcommand onboard" -l color -d 'When to use colour; nothing is said by colour alone' -r -f -a "auto\t'If the output is a terminal and `NO_COLOR` is not set'
always\t'Always'
never\t'Never'"
complete -c jims -n "__fish_jims_using_subcommand onboard" -l code-stdin -d 'Read the code from standard input'
complete -c jims -n "__fish_jims_using_subcommand onboard" -l list -d 'Show Collectors and invitations'
complete -c jims -n "__fish_jims_using_subcommand onboard" -l json -d 'Print JSON'
complete -c jims -n "__fish_jims_using_subcommand onboard" -s v -l verbose -d 'Log more: -v for debug (user names and addresses appear), -vv for everything'
complete -c jims -n "__fish_jims_using_subcommand onboard" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jims -n "__fish_jims_using_subcommand onboard" -s V -l version -d 'Print version'
complete -c jims -n "__fish_jims_using_subcommand status" -l junos -d 'Print what to type on the firewall of this enforcement point instead' -r
complete -c jims -n "__fish_jims_using_subcommand status" -l config -d 'Configuration file [default: /etc/jims/config.toml]' -r -F
complete -c jims -n "__fish_jims_using_subcommand status" -l color -d 'When to use colour; nothing is said by colour alone' -r -f -a "auto\t'If the output is a terminal and `NO_COLOR` is not set'
always\t'Always'
never\t'Never'"
complete -c jims -n "__fish_jims_using_subcommand status" -l json -d 'Print JSON'
complete -c jims -n "__fish_jims_using_subcommand status" -l collectors -d 'Show the Collectors that push to this Server instead; exit code 1 if one needs attention'
complete -c jims -n "__fish_jims_using_subcommand status" -l requests -d 'Show what firewalls asked that was not understood instead; exit code 1 if there is any'
complete -c jims -n "__fish_jims_using_subcommand status" -l watch -d 'Watch it live on this terminal: sessions, producers, firewalls, what happens now; `?` shows the keys'
complete -c jims -n "__fish_jims_using_subcommand status" -s v -l verbose -d 'Log more: -v for debug (user names and addresses appear), -vv for everything'
complete -c jims -n "__fish_jims_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jims -n "__fish_jims_using_subcommand status" -s V -l version -d 'Print version'
complete -c jims -n "__fish_jims_using_subcommand probe" -l config -d 'Configuration file [default: /etc/jims/config.toml]' -r -F
complete -c jims -n "__fish_jims_using_subcommand probe" -l color -d 'When to use colour; nothing is said by colour alone' -r -f -a "auto\t'If the output is a terminal and `NO_COLOR` is not set'
always\t'Always'
never\t'Never'"
complete -c jims -n "__fish_jims_using_subcommand probe" -l all -d 'Every event source and directory of the configuration'
complete -c jims -n "__fish_jims_using_subcommand probe" -l json -d 'Print JSON'
complete -c jims -n "__fish_jims_using_subcommand probe" -s v -l verbose -d 'Log more: -v for debug (user names and addresses appear), -vv for everything'
complete -c jims -n "__fish_jims_using_subcommand probe" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jims -n "__fish_jims_using_subcommand probe" -s V -l version -d 'Print version'
complete -c jims -n "__fish_jims_using_subcommand query-user" -l for -d 'Show also what this enforcement point would be told' -r
complete -c jims -n "__fish_jims_using_subcommand query-user" -l config -d 'Configuration file [default: /etc/jims/config.toml]' -r -F
complete -c jims -n "__fish_jims_using_subcommand query-user" -l color -d 'When to use colour; nothing is said by colour alone' -r -f -a "auto\t'If the output is a terminal and `NO_COLOR` is not set'
always\t'Always'
never\t'Never'"
complete -c jims -n "__fish_jims_using_subcommand query-user" -l explain -d 'Show also what was said and what lost by which rule, who was here before, and who has been told'
complete -c jims -n "__fish_jims_using_subcommand query-user" -l json -d 'Print JSON'
complete -c jims -n "__fish_jims_using_subcommand query-user" -s v -l verbose -d 'Log more: -v for debug (user names and addresses appear), -vv for everything'
complete -c jims -n "__fish_jims_using_subcommand query-user" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jims -n "__fish_jims_using_subcommand query-user" -s V -l version -d 'Print version'
complete -c jims -n "__fish_jims_using_subcommand log-off" -l config -d 'Configuration file [default: /etc/jims/config.toml]' -r -F
complete -c jims -n "__fish_jims_using_subcommand log-off" -l color -d 'When to use colour; nothing is said by colour alone' -r -f -a "auto\t'If the output is a terminal and `NO_COLOR` is not set'
always\t'Always'
never\t'Never'"
complete -c jims -n "__fish_jims_using_subcommand log-off" -l json -d 'Print JSON'
complete -c jims -n "__fish_jims_using_subcommand log-off" -s v -l verbose -d 'Log more: -v for debug (user names and addresses appear), -vv for everything'
complete -c jims -n "__fish_jims_using_subcommand log-off" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jims -n "__fish_jims_using_subcommand log-off" -s V -l version -d 'Print version'
complete -c jims -n "__fish_jims_using_subcommand refresh" -l config -d 'Configuration file [default: /etc/jims/config.toml]' -r -F
complete -c jims -n "__fish_jims_using_subcommand refresh" -l color -d 'When to use colour; nothing is said by colour alone' -r -f -a "auto\t'If the output is a terminal and `NO_COLOR` is not set'
always\t'Always'
never\t'Never'"
complete -c jims -n "__fish_jims_using_subcommand refresh" -l json -d 'Print JSON'
complete -c jims -n "__fish_jims_using_subcommand refresh" -s v -l verbose -d 'Log more: -v for debug (user names and addresses appear), -vv for everything'
complete -c jims -n "__fish_jims_using_subcommand refresh" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jims -n "__fish_jims_using_subcommand refresh" -s V -l version -d 'Print version'
complete -c jims -n "__fish_jims_using_subcommand syslog-test" -l source -d 'Read the line as this configured source would, with its templates, domain and time zone' -r
complete -c jims -n "__fish_jims_using_subcommand syslog-test" -l template -d 'Try only this template, configured or built in' -r
complete -c jims -n "__fish_jims_using_subcommand syslog-test" -l config -d 'Configuration file [default: /etc/jims/config.toml]' -r -F
complete -c jims -n "__fish_jims_using_subcommand syslog-test" -l color -d 'When to use colour; nothing is said by colour alone' -r -f -a "auto\t'If the output is a terminal and `NO_COLOR` is not set'
always\t'Always'
never\t'Never'"
complete -c jims -n "__fish_jims_using_subcommand syslog-test" -l json -d 'Print JSON; one object a line when reading from stdin'
complete -c jims -n "__fish_jims_using_subcommand syslog-test" -s v -l verbose -d 'Log more: -v for debug (user names and addresses appear), -vv for everything'
complete -c jims -n "__fish_jims_using_subcommand syslog-test" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jims -n "__fish_jims_using_subcommand syslog-test" -s V -l version -d 'Print version'
complete -c jims -n "__fish_jims_using_subcommand completions" -l config -d 'Configuration file [default: /etc/jims/config.toml]' -r -F
complete -c jims -n "__fish_jims_using_subcommand completions" -l color -d 'When to use colour; nothing is said by colour alone' -r -f -a "auto\t'If the output is a terminal and `NO_COLOR` is not set'
always\t'Always'
never\t'Never'"
complete -c jims -n "__fish_jims_using_subcommand completions" -s v -l verbose -d 'Log more: -v for debug (user names and addresses appear), -vv for everything'
complete -c jims -n "__fish_jims_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jims -n "__fish_jims_using_subcommand completions" -s V -l version -d 'Print version'
complete -c jims -n "__fish_jims_using_subcommand man" -l config -d 'Configuration file [default: /etc/jims/config.toml]' -r -F
complete -c jims -n "__fish_jims_using_subcommand man" -l color -d 'When to use colour; nothing is said by colour alone' -r -f -a "auto\t'If the output is a terminal and `NO_COLOR` is not set'
always\t'Always'
never\t'Never'"
complete -c jims -n "__fish_jims_using_subcommand man" -s v -l verbose -d 'Log more: -v for debug (user names and addresses appear), -vv for everything'
complete -c jims -n "__fish_jims_using_subcommand man" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c jims -n "__fish_jims_using_subcommand man" -s V -l version -d 'Print version'
complete -c jims -n "__fish_jims_using_subcommand help; and not __fish_seen_subcommand_from run onboard status probe query-user log-off refresh syslog-test completions man help" -f -a "run" -d 'Run the service in the foreground'
complete -c jims -n "__fish_jims_using_subcommand help; and not __fish_seen_subcommand_from run onboard status probe query-user log-off refresh syslog-test completions man help" -f -a "onboard" -d 'Let this Collector push to a Server; on the Server: invite, list, disable and remove Collectors'
complete -c jims -n "__fish_jims_using_subcommand help; and not __fish_seen_subcommand_from run onboard status probe query-user log-off refresh syslog-test completions man help" -f -a "status" -d 'Show what needs attention, then totals, directories, producers, firewalls and strangers'
complete -c jims -n "__fish_jims_using_subcommand help; and not __fish_seen_subcommand_from run onboard status probe query-user log-off refresh syslog-test completions man help" -f -a "probe" -d 'Try configured sources, or ask computers who is signed on, step by step'
complete -c jims -n "__fish_jims_using_subcommand help; and not __fish_seen_subcommand_from run onboard status probe query-user log-off refresh syslog-test completions man help" -f -a "query-user" -d 'Show who is at an address, where a user is, and which evidence says so'
complete -c jims -n "__fish_jims_using_subcommand help; and not __fish_seen_subcommand_from run onboard status probe query-user log-off refresh syslog-test completions man help" -f -a "log-off" -d 'End the sessions of a user, at an address, or at a device'
complete -c jims -n "__fish_jims_using_subcommand help; and not __fish_seen_subcommand_from run onboard status probe query-user log-off refresh syslog-test completions man help" -f -a "refresh" -d 'Tell a firewall that is pushed to (`web_api`) everything again, now'
complete -c jims -n "__fish_jims_using_subcommand help; and not __fish_seen_subcommand_from run onboard status probe query-user log-off refresh syslog-test completions man help" -f -a "syslog-test" -d 'Show which rule matches a syslog line and what it captures, or why none does'
complete -c jims -n "__fish_jims_using_subcommand help; and not __fish_seen_subcommand_from run onboard status probe query-user log-off refresh syslog-test completions man help" -f -a "completions" -d 'Print completions for a shell'
complete -c jims -n "__fish_jims_using_subcommand help; and not __fish_seen_subcommand_from run onboard status probe query-user log-off refresh syslog-test completions man help" -f -a "man" -d 'Print the manual page, or write the pages of all commands'
complete -c jims -n "__fish_jims_using_subcommand help; and not __fish_seen_subcommand_from run onboard status probe query-user log-off refresh syslog-test completions man help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
