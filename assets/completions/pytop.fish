# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_pytop_global_optspecs
    string join \n p/pid= children once b/batch n/count= d/interval= t/top= s/sort= r/reverse g/group-by= f/filter= format= method= max-overhead= durations table-size= h/help V/version
end

function __fish_pytop_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_pytop_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_pytop_using_subcommand
    set -l cmd (__fish_pytop_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c pytop -n "__fish_pytop_needs_command" -s p -l pid -d 'Count only these processes' -r
complete -c pytop -n "__fish_pytop_needs_command" -s n -l count -d 'End after N snapshots; a command is ended too' -r
complete -c pytop -n "__fish_pytop_needs_command" -s d -l interval -l delay -d 'Time between snapshots: 0.1 to 3600, fractions allowed' -r
complete -c pytop -n "__fish_pytop_needs_command" -s t -l top -d 'Rows of a snapshot; 0 for all [default: 20; the screen has all]' -r
complete -c pytop -n "__fish_pytop_needs_command" -s s -l sort -d 'Sort by this; most calls and longest durations first, all else smallest first' -r -f -a "calls\t'Calls in the last interval, most first'
total\t'Calls since the start, most first'
pid\t'Process id, ascending'
filename\t'File name, ascending'
line\t'Line, ascending; unknown lines come last'
function\t'Function name, ascending'
time\t'Time in calls, most first; needs --durations'
own\t'Time in calls without what they call, most first; likewise'
mean\t'Mean time of a call, longest first; likewise'
p50\t'Time that half of the calls did not exceed, longest first; likewise'
p99\t'Time that 99 of 100 calls did not exceed, longest first; likewise'
max\t'Longest call, longest first; likewise'"
complete -c pytop -n "__fish_pytop_needs_command" -s g -l group-by -d 'Add rows up, over a file or a process' -r -f -a "function\t'One row a function of a process'
file\t'One row a file, over all processes that run it'
process\t'One row a process'"
complete -c pytop -n "__fish_pytop_needs_command" -s f -l filter -d 'Show only rows whose \'FILENAME:LINE FUNCTION\' matches' -r
complete -c pytop -n "__fish_pytop_needs_command" -l format -d 'How to print snapshots' -r -f -a "table\t'Columns, for reading'
json\t'One object a line a snapshot'
csv\t'A header line, then one line a row'"
complete -c pytop -n "__fish_pytop_needs_command" -l method -d 'How calls are counted; for comparing, and for finding faults' -r -f -a "auto\t'The best that an interpreter allows'
marker\t'Its function__entry marker'
eval\t'Its frame evaluation function, 3.6 to 3.10'
resume\t'Its RESUME bytecodes, 3.11 and later'"
complete -c pytop -n "__fish_pytop_needs_command" -l max-overhead -d 'Bound what counting takes of each process\'s CPU time, in percent; auto is 5' -r
complete -c pytop -n "__fish_pytop_needs_command" -l table-size -d 'Functions that can be counted in one interval [default: as many as needed]' -r
complete -c pytop -n "__fish_pytop_needs_command" -l children -d 'Count the descendants of --pid or of the command too'
complete -c pytop -n "__fish_pytop_needs_command" -l once -d 'Print one snapshot after one interval, and end'
complete -c pytop -n "__fish_pytop_needs_command" -s b -l batch -d 'Print snapshots as plain text, without a screen'
complete -c pytop -n "__fish_pytop_needs_command" -s r -l reverse -d 'Reverse the order'
complete -c pytop -n "__fish_pytop_needs_command" -l durations -d 'Measure how long calls take, too'
complete -c pytop -n "__fish_pytop_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pytop -n "__fish_pytop_needs_command" -s V -l version -d 'Print version'
complete -c pytop -n "__fish_pytop_needs_command" -a "trace" -d 'Show the calls of Python functions one by one, as they happen'
complete -c pytop -n "__fish_pytop_needs_command" -a "probes" -d 'Show what can be probed in interpreters and other files'
complete -c pytop -n "__fish_pytop_needs_command" -a "doctor" -d 'Tell whether pytop can count here, and what is missing'
complete -c pytop -n "__fish_pytop_needs_command" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c pytop -n "__fish_pytop_using_subcommand trace" -s p -l pid -d 'Trace only these processes' -r
complete -c pytop -n "__fish_pytop_using_subcommand trace" -s f -l filter -d 'Show only functions whose \'FILENAME:LINE FUNCTION\' matches' -r
complete -c pytop -n "__fish_pytop_using_subcommand trace" -l max-depth -d 'Show no function that has N others or more around it' -r
complete -c pytop -n "__fish_pytop_using_subcommand trace" -l duration -d 'End after this time; a command is ended too' -r
complete -c pytop -n "__fish_pytop_using_subcommand trace" -l format -d 'How to print what happens' -r -f -a "text\t'A line an entry or return, for reading'
json\t'One object a line an entry or return'
folded\t'One line a stack, at the end, for flame graphs'"
complete -c pytop -n "__fish_pytop_using_subcommand trace" -l weight -d 'What a stack of --format folded weighs: time, unless calls are asked for' -r -f -a "time\t'Microseconds in its innermost function itself'
calls\t'Calls'"
complete -c pytop -n "__fish_pytop_using_subcommand trace" -s o -l output -d 'Print to this file instead of standard output' -r -F
complete -c pytop -n "__fish_pytop_using_subcommand trace" -l buffer -d 'Memory for events that are not printed yet, in MiB: 1 to 1024, a power of two' -r
complete -c pytop -n "__fish_pytop_using_subcommand trace" -l method -d 'How calls are followed; for comparing, and for finding faults' -r -f -a "auto\t'The best that an interpreter allows'
marker\t'Its function__entry marker'
eval\t'Its frame evaluation function, 3.6 to 3.10'
resume\t'Its RESUME bytecodes, 3.11 and later'"
complete -c pytop -n "__fish_pytop_using_subcommand trace" -l children -d 'Trace the descendants of --pid or of the command too'
complete -c pytop -n "__fish_pytop_using_subcommand trace" -l subtree -d 'Show what matches together with everything that it calls'
complete -c pytop -n "__fish_pytop_using_subcommand trace" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pytop -n "__fish_pytop_using_subcommand probes" -s p -l pid -d 'Look at the interpreters of these processes, and read the values of their semaphores' -r
complete -c pytop -n "__fish_pytop_using_subcommand probes" -l format -d 'How to print them' -r -f -a "table\t'For reading'
json\t'One object'"
complete -c pytop -n "__fish_pytop_using_subcommand probes" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pytop -n "__fish_pytop_using_subcommand doctor" -l format -d 'How to print the findings' -r -f -a "table\t'For reading'
json\t'One object'"
complete -c pytop -n "__fish_pytop_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pytop -n "__fish_pytop_using_subcommand help; and not __fish_seen_subcommand_from trace probes doctor help" -f -a "trace" -d 'Show the calls of Python functions one by one, as they happen'
complete -c pytop -n "__fish_pytop_using_subcommand help; and not __fish_seen_subcommand_from trace probes doctor help" -f -a "probes" -d 'Show what can be probed in interpreters and other files'
complete -c pytop -n "__fish_pytop_using_subcommand help; and not __fish_seen_subcommand_from trace probes doctor help" -f -a "doctor" -d 'Tell whether pytop can count here, and what is missing'
complete -c pytop -n "__fish_pytop_using_subcommand help; and not __fish_seen_subcommand_from trace probes doctor help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
