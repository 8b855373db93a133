# The hello answer from h2o's mruby.
proc do |_env|
  [200, { "content-type" => "text/plain", "content-length" => "13" }, ["hello, world\n"]]
end
