# Prints the blocks of a Test::Nginx file as JSON, without Test::Nginx: its modules are stood in for,
# so that the file's own Perl, which many sections are evaluated by, runs.
#
#     perl blocks.pl <directory of the library> <file.t>
use strict;
use warnings;
use JSON::PP;
use Cwd qw(abs_path);

my ($library, $file) = @ARGV;
$file = abs_path($file);
chdir $library or die "cannot change to $library: $!";

package Block {
    our $AUTOLOAD;
    sub new { my ($class, $name) = @_; return bless { name => $name, sections => {} }, $class }
    sub name { return $_[0]{name} }
    sub set_value { my ($self, $name, @values) = @_; $self->{sections}{$name} = $values[0] }
    sub AUTOLOAD {
        my ($self) = @_;
        (my $name = $AUTOLOAD) =~ s/.*:://;
        return if $name eq 'DESTROY';
        return $self->{sections}{$name};
    }
}

package Test::Nginx::Socket {
    our (@preprocessors, $text, @blocks);
    our $root = "$ENV{MOONRING_TEST_ROOT}";

    sub trim { my ($value) = @_; $value =~ s/\A([ \t]*\n)+//; $value =~ s/(?<=\n)\s*\z//; return $value }

    sub add_section {
        my ($block, $name, $filters, $value) = @_;
        $value = trim($value) if defined $value && $value =~ /\n/ && $filters !~ /-trim/;
        $value = '' unless defined $value;
        for my $filter (split ' ', $filters) {
            if ($filter eq 'eval') {
                my $result = eval "package main; no strict; no warnings; $value";
                $value = $@ ? die("section $name of $block->{name}: $@") : $result;
            } elsif ($filter eq 'chomp' || $filter eq 'chop') {
                chomp $value;
            } elsif ($filter eq 'quote') {
                $value = quotemeta $value;
            }
        }
        $block->set_value($name, $value);
    }

    sub parse_block {
        my ($source) = @_;
        my ($title, @lines) = split /\n/, $source, -1;
        my $block = Block->new($title);
        my ($name, $filters, @value);
        my $close = sub { add_section($block, $name, $filters, join("\n", @value, "")) if defined $name };
        for my $line (@lines) {
            if ($line =~ /^--- +(\w+)((?: +[-\w=]+)*)(:(?: (.*?))?\s*)?\s*$/) {
                $close->();
                ($name, $filters, @value) = ($1, $2);
                if (defined $3) {
                    my $inline = defined $4 ? $4 : '';
                    add_section($block, $name, $filters, $inline);
                    undef $name;
                }
            } elsif (defined $name) {
                $line =~ s{^\\(?=\\|--- |=== )}{};
                push @value, $line;
            }
        }
        $close->();
        return $block;
    }

    sub all_blocks {
        return @blocks if @blocks;
        my (undef, $data) = split /^__(?:DATA|END)__\n/m, $text, 2;
        my @sources = split /^=== ?/m, $data // '';
        shift @sources;
        for my $source (@sources) {
            my $block = eval { parse_block($source) };
            $block = do { my $b = Block->new((split /\n/, $source)[0]); $b->set_value('broken', "$@"); $b } if !$block;
            push @blocks, $block;
        }
        return @blocks;
    }

    my %functions = (
        repeat_each => sub { 1 }, plan => sub { }, 
        # Counted in a plan, before what sections are evaluated with is there.
        blocks => sub { scalar(() = $text =~ /^=== /mg) },
        no_long_string => sub { }, no_diff => sub { }, log_level => sub { }, no_root_location => sub { },
        no_shuffle => sub { }, workers => sub { }, master_on => sub { }, master_process_enabled => sub { },
        worker_connections => sub { }, env_to_nginx => sub { }, check_accum_error_log => sub { },
        html_dir => sub { "$root/html" }, server_root => sub { $root }, server_port => sub { $ENV{TEST_NGINX_SERVER_PORT} },
        server_addr => sub { '127.0.0.1' }, timeout => sub { }, bail_out => sub { }, no_nginx_manager => sub { },
        use_hup => sub { }, is_tcp_port_used => sub { 0 }, skip_all => sub { exit }, no_xdel => sub { },
        add_block_preprocessor => sub { push @preprocessors, $_[0] }, add_response_body_check => sub { },
        add_cleanup_handler => sub { }, add_test_tear_down_hook => sub { }, error_log_data => sub { [] },
        filters => sub { }, delimiters => sub { }, use_http2 => sub { 0 }, use_http3 => sub { 0 },
        run_tests => sub {
            my @out;
            for my $block (all_blocks()) {
                eval { $_->($block) for @preprocessors; 1 } or $block->set_value('broken', "$@");
                my %sections;
                for my $name (keys %{ $block->{sections} }) {
                    my $value = $block->{sections}{$name};
                    $value = { like => "$value" } if ref $value eq "Regexp";
                    $value = [map { ref $_ eq 'Regexp' ? { like => "$_" } : $_ } @$value] if ref $value eq 'ARRAY';
                    $value = undef if ref $value eq 'CODE';
                    $sections{$name} = $value;
                }
                push @out, { name => $block->{name}, sections => \%sections };
            }
            binmode STDOUT;
            print JSON::PP->new->latin1->allow_blessed->convert_blessed->allow_unknown->encode(\@out);
        },
    );

    sub export_to {
        my ($package, $from) = @_;
        no strict 'refs';
        no warnings;
        *{"${package}::$_"} = $functions{$_} for keys %functions;
        if ($from) {
            for my $name (@{"${from}::EXPORT"}) {
                (my $bare = $name) =~ s/^([\$\@%&]?)//;
                my $sigil = $1;
                *{"${package}::$bare"} = $sigil eq '$' ? \${"${from}::$bare"}
                    : $sigil eq '@' ? \@{"${from}::$bare"} : $sigil eq '%' ? \%{"${from}::$bare"} : \&{"${from}::$bare"};
            }
        }
    }

    sub import {
        my ($class, @arguments) = @_;
        my $package = caller;
        export_to($package);
        strict->import;
        warnings->import;
        return unless grep { $_ eq '-Base' } @arguments;
        no strict 'refs';
        no warnings;
        *{"${package}::import"} = sub { export_to(scalar(caller), $package); strict->import };
    }
}

package main;

$INC{'Test/Nginx/Socket.pm'} = $0;
push @INC, '.', 't', 't/lib', sub {
    my (undef, $name) = @_;
    return unless $name =~ m{^Test/(Nginx/|More|Base|LongString|Nginx)};
    (my $package = $name) =~ s{/}{::}g;
    $package =~ s/\.pm$//;
    my $source = "package $package; our \$ErrLogFile = '/dev/null'; our (\$UseValgrind, \$Verbose);\n"
        . "sub import { goto &Test::Nginx::Socket::import }\n1;\n";
    open my $handle, '<', \$source or die;
    return $handle;
};

{
    open my $handle, '<:raw', $file or die "cannot read $file: $!";
    local $/;
    $Test::Nginx::Socket::text = <$handle>;
}
my ($program) = split /^__(?:DATA|END)__\n/m, $Test::Nginx::Socket::text, 2;
$program =~ s/^use lib\b.*$//mg;
no strict;
no warnings;
eval "package main; no strict 'vars'; no warnings;\n# line 1 \"$file\"\n$program; 1" or die $@;
