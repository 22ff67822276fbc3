
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'jims' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'jims'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'jims' {
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Configuration file [default: /etc/jims/config.toml]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; nothing is said by colour alone')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Log more: -v for debug (user names and addresses appear), -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Log more: -v for debug (user names and addresses appear), -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('run', 'run', [CompletionResultType]::ParameterValue, 'Run the service in the foreground')
            [CompletionResult]::new('onboard', 'onboard', [CompletionResultType]::ParameterValue, 'Let this Collector push to a Server; on the Server: invite, list, disable and remove Collectors')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Show what needs attention, then totals, directories, producers, firewalls and strangers')
            [CompletionResult]::new('probe', 'probe', [CompletionResultType]::ParameterValue, 'Try configured sources, or ask computers who is signed on, step by step')
            [CompletionResult]::new('query-user', 'query-user', [CompletionResultType]::ParameterValue, 'Show who is at an address, where a user is, and which evidence says so')
            [CompletionResult]::new('log-off', 'log-off', [CompletionResultType]::ParameterValue, 'End the sessions of a user, at an address, or at a device')
            [CompletionResult]::new('refresh', 'refresh', [CompletionResultType]::ParameterValue, 'Tell a firewall that is pushed to (`web_api`) everything again, now')
            [CompletionResult]::new('syslog-test', 'syslog-test', [CompletionResultType]::ParameterValue, 'Show which rule matches a syslog line and what it captures, or why none does')
            [CompletionResult]::new('completions', 'completions', [CompletionResultType]::ParameterValue, 'Print completions for a shell')
            [CompletionResult]::new('man', 'man', [CompletionResultType]::ParameterValue, 'Print the manual page, or write the pages of all commands')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'jims;run' {
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Configuration file [default: /etc/jims/config.toml]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; nothing is said by colour alone')
            [CompletionResult]::new('--check', '--check', [CompletionResultType]::ParameterName, 'Check the configuration and the files it names, print every problem, start nothing')
            [CompletionResult]::new('--connect', '--connect', [CompletionResultType]::ParameterName, 'With --check: connect to each event source and directory once, step by step')
            [CompletionResult]::new('--demo', '--demo', [CompletionResultType]::ParameterName, 'Run a self-contained site, whatever is configured: a directory from a file, simulated senders and firewall')
            [CompletionResult]::new('--dashboard', '--dashboard', [CompletionResultType]::ParameterName, 'Show the dashboard of `jims status --watch` in place of the log, which then goes to jims.log in the state folder')
            [CompletionResult]::new('--no-dashboard', '--no-dashboard', [CompletionResultType]::ParameterName, 'With --demo: print a summary in place of the dashboard')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Log more: -v for debug (user names and addresses appear), -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Log more: -v for debug (user names and addresses appear), -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'jims;onboard' {
            [CompletionResult]::new('--code', '--code', [CompletionResultType]::ParameterName, 'The code of the invitation; other users of this machine can see it, so prefer --code-stdin')
            [CompletionResult]::new('--name', '--name', [CompletionResultType]::ParameterName, 'What this Collector calls the Server [default: its host, with the port if it is not 443]')
            [CompletionResult]::new('--description', '--description', [CompletionResultType]::ParameterName, 'What this Collector is, for people [default: collector.description]')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'Certificates to trust beside the code''s own check: a file in PEM form')
            [CompletionResult]::new('--invite', '--invite', [CompletionResultType]::ParameterName, 'Invite a Collector and call it NAME: prints a code, once')
            [CompletionResult]::new('--expires', '--expires', [CompletionResultType]::ParameterName, 'How long the code can be used, 1m to 30d [default: 1h]')
            [CompletionResult]::new('--networks', '--networks', [CompletionResultType]::ParameterName, 'Addresses it may speak for, such as 10.2.0.0/16,2001:db8:2::/48 [default: all]')
            [CompletionResult]::new('--domains', '--domains', [CompletionResultType]::ParameterName, 'Domains it may speak for, such as corp.example.com [default: all]')
            [CompletionResult]::new('--roles', '--roles', [CompletionResultType]::ParameterName, 'Groups that its sources may assert, such as ''VPN-*'' [default: none, the directory knows them]')
            [CompletionResult]::new('--revoke', '--revoke', [CompletionResultType]::ParameterName, 'Take back an invitation that nobody used')
            [CompletionResult]::new('--remove', '--remove', [CompletionResultType]::ParameterName, 'Forget a Collector; what it brought leaves')
            [CompletionResult]::new('--disable', '--disable', [CompletionResultType]::ParameterName, 'Hear a Collector no more until it is enabled')
            [CompletionResult]::new('--enable', '--enable', [CompletionResultType]::ParameterName, 'Hear a Collector again')
            [CompletionResult]::new('--describe', '--describe', [CompletionResultType]::ParameterName, 'Say what a Collector is, for people; '''' for what it says itself')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Configuration file [default: /etc/jims/config.toml]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; nothing is said by colour alone')
            [CompletionResult]::new('--code-stdin', '--code-stdin', [CompletionResultType]::ParameterName, 'Read the code from standard input')
            [CompletionResult]::new('--list', '--list', [CompletionResultType]::ParameterName, 'Show Collectors and invitations')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Log more: -v for debug (user names and addresses appear), -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Log more: -v for debug (user names and addresses appear), -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'jims;status' {
            [CompletionResult]::new('--junos', '--junos', [CompletionResultType]::ParameterName, 'Print what to type on the firewall of this enforcement point instead')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Configuration file [default: /etc/jims/config.toml]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; nothing is said by colour alone')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON')
            [CompletionResult]::new('--collectors', '--collectors', [CompletionResultType]::ParameterName, 'Show the Collectors that push to this Server instead; exit code 1 if one needs attention')
            [CompletionResult]::new('--requests', '--requests', [CompletionResultType]::ParameterName, 'Show what firewalls asked that was not understood instead; exit code 1 if there is any')
            [CompletionResult]::new('--watch', '--watch', [CompletionResultType]::ParameterName, 'Watch it live on this terminal: sessions, producers, firewalls, what happens now; `?` shows the keys')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Log more: -v for debug (user names and addresses appear), -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Log more: -v for debug (user names and addresses appear), -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'jims;probe' {
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Configuration file [default: /etc/jims/config.toml]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; nothing is said by colour alone')
            [CompletionResult]::new('--all', '--all', [CompletionResultType]::ParameterName, 'Every event source and directory of the configuration')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Log more: -v for debug (user names and addresses appear), -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Log more: -v for debug (user names and addresses appear), -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'jims;query-user' {
            [CompletionResult]::new('--for', '--for', [CompletionResultType]::ParameterName, 'Show also what this enforcement point would be told')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Configuration file [default: /etc/jims/config.toml]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; nothing is said by colour alone')
            [CompletionResult]::new('--explain', '--explain', [CompletionResultType]::ParameterName, 'Show also what was said and what lost by which rule, who was here before, and who has been told')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Log more: -v for debug (user names and addresses appear), -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Log more: -v for debug (user names and addresses appear), -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'jims;log-off' {
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Configuration file [default: /etc/jims/config.toml]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; nothing is said by colour alone')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Log more: -v for debug (user names and addresses appear), -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Log more: -v for debug (user names and addresses appear), -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'jims;refresh' {
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Configuration file [default: /etc/jims/config.toml]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; nothing is said by colour alone')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Log more: -v for debug (user names and addresses appear), -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Log more: -v for debug (user names and addresses appear), -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'jims;syslog-test' {
            [CompletionResult]::new('--source', '--source', [CompletionResultType]::ParameterName, 'Read the line as this configured source would, with its templates, domain and time zone')
            [CompletionResult]::new('--template', '--template', [CompletionResultType]::ParameterName, 'Try only this template, configured or built in')
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Configuration file [default: /etc/jims/config.toml]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; nothing is said by colour alone')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON; one object a line when reading from stdin')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Log more: -v for debug (user names and addresses appear), -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Log more: -v for debug (user names and addresses appear), -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'jims;completions' {
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Configuration file [default: /etc/jims/config.toml]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; nothing is said by colour alone')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Log more: -v for debug (user names and addresses appear), -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Log more: -v for debug (user names and addresses appear), -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'jims;man' {
            [CompletionResult]::new('--config', '--config', [CompletionResultType]::ParameterName, 'Configuration file [default: /etc/jims/config.toml]')
            [CompletionResult]::new('--color', '--color', [CompletionResultType]::ParameterName, 'When to use colour; nothing is said by colour alone')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Log more: -v for debug (user names and addresses appear), -vv for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Log more: -v for debug (user names and addresses appear), -vv for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'jims;help' {
            [CompletionResult]::new('run', 'run', [CompletionResultType]::ParameterValue, 'Run the service in the foreground')
            [CompletionResult]::new('onboard', 'onboard', [CompletionResultType]::ParameterValue, 'Let this Collector push to a Server; on the Server: invite, list, disable and remove Collectors')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Show what needs attention, then totals, directories, producers, firewalls and strangers')
            [CompletionResult]::new('probe', 'probe', [CompletionResultType]::ParameterValue, 'Try configured sources, or ask computers who is signed on, step by step')
            [CompletionResult]::new('query-user', 'query-user', [CompletionResultType]::ParameterValue, 'Show who is at an address, where a user is, and which evidence says so')
            [CompletionResult]::new('log-off', 'log-off', [CompletionResultType]::ParameterValue, 'End the sessions of a user, at an address, or at a device')
            [CompletionResult]::new('refresh', 'refresh', [CompletionResultType]::ParameterValue, 'Tell a firewall that is pushed to (`web_api`) everything again, now')
            [CompletionResult]::new('syslog-test', 'syslog-test', [CompletionResultType]::ParameterValue, 'Show which rule matches a syslog line and what it captures, or why none does')
            [CompletionResult]::new('completions', 'completions', [CompletionResultType]::ParameterValue, 'Print completions for a shell')
            [CompletionResult]::new('man', 'man', [CompletionResultType]::ParameterValue, 'Print the manual page, or write the pages of all commands')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'jims;help;run' {
            break
        }
        'jims;help;onboard' {
            break
        }
        'jims;help;status' {
            break
        }
        'jims;help;probe' {
            break
        }
        'jims;help;query-user' {
            break
        }
        'jims;help;log-off' {
            break
        }
        'jims;help;refresh' {
            break
        }
        'jims;help;syslog-test' {
            break
        }
        'jims;help;completions' {
            break
        }
        'jims;help;man' {
            break
        }
        'jims;help;help' {
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
