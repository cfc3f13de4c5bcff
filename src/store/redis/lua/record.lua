-- Keeps an entry in the audit.
-- ARGV[1] skew, ARGV[2] channel, ARGV[3] token of this call, ARGV[4] entry (JSON), ARGV[5] the most entries to keep.
expect('ttc')
if not was_kept(ARGV[3]) then keep_entry(ARGV[3], ARGV[4], ARGV[5]) end
return true
