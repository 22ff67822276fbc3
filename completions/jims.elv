
use builtin;
use str;

set edit:completion:arg-completer[jims] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'jims'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'jims'= {
            cand --config 'Configuration file [default: /etc/jims/config.toml]'
            cand --color 'When to use colour; nothing is said by colour alone'
            cand -v 'Log more: -v for debug (user names and addresses appear), -vv for everything'
            cand --verbose 'Log more: -v for debug (user names and addresses appear), -vv for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand run 'Run the service in the foreground'
            cand onboard 'Let this Collector push to a Server; on the Server: invite, list, disable and remove Collectors'
            cand status 'Show what needs attention, then totals, directories, producers, firewalls and strangers'
            cand probe 'Try configured sources, or ask computers who is signed on, step by step'
            cand query-user 'Show who is at an address, where a user is, and which evidence says so'
            cand log-off 'End the sessions of a user, at an address, or at a device'
            cand refresh 'Tell a firewall that is pushed to (`web_api`) everything again, now'
            cand syslog-test 'Show which rule matches a syslog line and what it captures, or why none does'
            cand completions 'Print completions for a shell'
            cand man 'Print the manual page, or write the pages of all commands'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'jims;run'= {
            cand --config 'Configuration file [default: /etc/jims/config.toml]'
            cand --color 'When to use colour; nothing is said by colour alone'
            cand --check 'Check the configuration and the files it names, print every problem, start nothing'
            cand --connect 'With --check: connect to each event source and directory once, step by step'
            cand --demo 'Run a self-contained site, whatever is configured: a directory from a file, simulated senders and firewall'
            cand --dashboard 'Show the dashboard of `jims status --watch` in place of the log, which then goes to jims.log in the state folder'
            cand --no-dashboard 'With --demo: print a summary in place of the dashboard'
            cand -v 'Log more: -v for debug (user names and addresses appear), -vv for everything'
            cand --verbose 'Log more: -v for debug (user names and addresses appear), -vv for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'jims;onboard'= {
            cand --code 'The code of the invitation; other users of this machine can see it, so prefer --code-stdin'
            cand --name 'What this Collector calls the Server [default: its host, with the port if it is not 443]'
            cand --description 'What this Collector is, for people [default: collector.description]'
            cand --ca-file 'Certificates to trust beside the code''s own check: a file in PEM form'
            cand --invite 'Invite a Collector and call it NAME: prints a code, once'
            cand --expires 'How long the code can be used, 1m to 30d [default: 1h]'
            cand --networks 'Addresses it may speak for, such as 10.2.0.0/16,2001:db8:2::/48 [default: all]'
            cand --domains 'Domains it may speak for, such as corp.example.com [default: all]'
            cand --roles 'Groups that its sources may assert, such as ''VPN-*'' [default: none, the directory knows them]'
            cand --revoke 'Take back an invitation that nobody used'
            cand --remove 'Forget a Collector; what it brought leaves'
            cand --disable 'Hear a Collector no more until it is enabled'
            cand --enable 'Hear a Collector again'
            cand --describe 'Say what a Collector is, for people; '''' for what it says itself'
            cand --config 'Configuration file [default: /etc/jims/config.toml]'
            cand --color 'When to use colour; nothing is said by colour alone'
            cand --code-stdin 'Read the code from standard input'
            cand --list 'Show Collectors and invitations'
            cand --json 'Print JSON'
            cand -v 'Log more: -v for debug (user names and addresses appear), -vv for everything'
            cand --verbose 'Log more: -v for debug (user names and addresses appear), -vv for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'jims;status'= {
            cand --junos 'Print what to type on the firewall of this enforcement point instead'
            cand --config 'Configuration file [default: /etc/jims/config.toml]'
            cand --color 'When to use colour; nothing is said by colour alone'
            cand --json 'Print JSON'
            cand --collectors 'Show the Collectors that push to this Server instead; exit code 1 if one needs attention'
            cand --requests 'Show what firewalls asked that was not understood instead; exit code 1 if there is any'
            cand --watch 'Watch it live on this terminal: sessions, producers, firewalls, what happens now; `?` shows the keys'
            cand -v 'Log more: -v for debug (user names and addresses appear), -vv for everything'
            cand --verbose 'Log more: -v for debug (user names and addresses appear), -vv for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'jims;probe'= {
            cand --config 'Configuration file [default: /etc/jims/config.toml]'
            cand --color 'When to use colour; nothing is said by colour alone'
            cand --all 'Every event source and directory of the configuration'
            cand --json 'Print JSON'
            cand -v 'Log more: -v for debug (user names and addresses appear), -vv for everything'
            cand --verbose 'Log more: -v for debug (user names and addresses appear), -vv for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'jims;query-user'= {
            cand --for 'Show also what this enforcement point would be told'
            cand --config 'Configuration file [default: /etc/jims/config.toml]'
            cand --color 'When to use colour; nothing is said by colour alone'
            cand --explain 'Show also what was said and what lost by which rule, who was here before, and who has been told'
            cand --json 'Print JSON'
            cand -v 'Log more: -v for debug (user names and addresses appear), -vv for everything'
            cand --verbose 'Log more: -v for debug (user names and addresses appear), -vv for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'jims;log-off'= {
            cand --config 'Configuration file [default: /etc/jims/config.toml]'
            cand --color 'When to use colour; nothing is said by colour alone'
            cand --json 'Print JSON'
            cand -v 'Log more: -v for debug (user names and addresses appear), -vv for everything'
            cand --verbose 'Log more: -v for debug (user names and addresses appear), -vv for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'jims;refresh'= {
            cand --config 'Configuration file [default: /etc/jims/config.toml]'
            cand --color 'When to use colour; nothing is said by colour alone'
            cand --json 'Print JSON'
            cand -v 'Log more: -v for debug (user names and addresses appear), -vv for everything'
            cand --verbose 'Log more: -v for debug (user names and addresses appear), -vv for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'jims;syslog-test'= {
            cand --source 'Read the line as this configured source would, with its templates, domain and time zone'
            cand --template 'Try only this template, configured or built in'
            cand --config 'Configuration file [default: /etc/jims/config.toml]'
            cand --color 'When to use colour; nothing is said by colour alone'
            cand --json 'Print JSON; one object a line when reading from stdin'
            cand -v 'Log more: -v for debug (user names and addresses appear), -vv for everything'
            cand --verbose 'Log more: -v for debug (user names and addresses appear), -vv for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'jims;completions'= {
            cand --config 'Configuration file [default: /etc/jims/config.toml]'
            cand --color 'When to use colour; nothing is said by colour alone'
            cand -v 'Log more: -v for debug (user names and addresses appear), -vv for everything'
            cand --verbose 'Log more: -v for debug (user names and addresses appear), -vv for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'jims;man'= {
            cand --config 'Configuration file [default: /etc/jims/config.toml]'
            cand --color 'When to use colour; nothing is said by colour alone'
            cand -v 'Log more: -v for debug (user names and addresses appear), -vv for everything'
            cand --verbose 'Log more: -v for debug (user names and addresses appear), -vv for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'jims;help'= {
            cand run 'Run the service in the foreground'
            cand onboard 'Let this Collector push to a Server; on the Server: invite, list, disable and remove Collectors'
            cand status 'Show what needs attention, then totals, directories, producers, firewalls and strangers'
            cand probe 'Try configured sources, or ask computers who is signed on, step by step'
            cand query-user 'Show who is at an address, where a user is, and which evidence says so'
            cand log-off 'End the sessions of a user, at an address, or at a device'
            cand refresh 'Tell a firewall that is pushed to (`web_api`) everything again, now'
            cand syslog-test 'Show which rule matches a syslog line and what it captures, or why none does'
            cand completions 'Print completions for a shell'
            cand man 'Print the manual page, or write the pages of all commands'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'jims;help;run'= {
        }
        &'jims;help;onboard'= {
        }
        &'jims;help;status'= {
        }
        &'jims;help;probe'= {
        }
        &'jims;help;query-user'= {
        }
        &'jims;help;log-off'= {
        }
        &'jims;help;refresh'= {
        }
        &'jims;help;syslog-test'= {
        }
        &'jims;help;completions'= {
        }
        &'jims;help;man'= {
        }
        &'jims;help;help'= {
        }
    ]
    $completions[$command]
}
