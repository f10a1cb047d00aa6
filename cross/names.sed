# Demangled names of functions as they stand in cross/order: without hashes and without types, which
# differ from compiler to compiler and would be too many.
s/\[[0-9a-f]*\]//g
s/drop_in_place::<\(.*\)>$/drop_in_place \1/
s/->/=/g
:a
s/\([A-Za-z0-9_}]\)\(::\)\{0,1\}<[^<>]*>/\1/
ta
s/<\([^<>]*\) as [^<>]*>/\1/
ta
s/<\([^<>]*\)>/\1/
ta
s/&mut \|&\|\*mut \|\*const //g
